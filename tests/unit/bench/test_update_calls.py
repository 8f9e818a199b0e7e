"""The typical UPDATE, and what the strategies are held against."""

from __future__ import annotations

import pytest

from app.profile.entities import CHILD_TYPES
from bench.update_calls import CHANGES, ENTITY_ROW, NOTHING, PARENT, STRATEGIES, Cost, targets, typical_update


def test_the_typical_update_has_a_parent_and_twelve_rows_in_six_types() -> None:
    rows = typical_update(0, 0).rows()
    assert [sum(of is entity for of, _ in rows) for entity in CHILD_TYPES] == [2] * 6


def test_each_number_stands_in_one_field() -> None:
    first, parent, row = typical_update(0, 0), typical_update(1, 0), typical_update(0, 1)
    assert first.consumer is not None and parent.consumer is not None
    assert sum(value != parent.consumer[column] for column, value in first.consumer.items()) == 1
    assert (first.entities, first.consumer) == (parent.entities, row.consumer)
    pairs = zip(first.rows(), row.rows(), strict=True)
    assert sum(value != after[column] for (_, before), (_, after) in pairs for column, value in before.items()) == 1


def test_reconcile_is_held_against_replace_with_one_row_a_call() -> None:
    calls = {("replace", 1): 31.0, ("replace", 50): 9.0, ("reconcile", 1): 7.0, ("reconcile", 50): 7.0}
    costs = [
        Cost(strategy, changed, calls[strategy.strategy, strategy.batch_size], 10 * calls["replace", 1])
        for strategy in STRATEGIES
        for changed in CHANGES
    ]
    found = targets(costs)
    assert [(target.value, target.reached) for target in found] == [
        (pytest.approx(31 / 7), True),
        (pytest.approx(1.0), False),
    ] * 2
    assert [PARENT in target.what for target in found] == [True, True, False, False]
    assert not any(NOTHING in target.what or (PARENT in target.what) == (ENTITY_ROW in target.what) for target in found)
