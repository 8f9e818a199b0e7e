"""The KPI counts: every settled event once, under its final outcome."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.counts import Cell, Counts, FailureCount, Settlement, cells, fold
from app.delivery.outcome import Outcome, RecordCount
from app.profile.entities import EntityType

_small = st.integers(0, 5)
settlements = st.builds(
    Settlement,
    consumer_id=st.none() | st.sampled_from(["c1", "c2"]),
    event_id=st.uuids().map(str),
    operation=st.sampled_from(["NEW", "UPDATE", "DELETE", "-"]),
    market=st.sampled_from(["DE", "GB", "-"]),
    day=st.sampled_from(["2026-01-01", "2026-01-02"]),
    outcome=st.sampled_from(Outcome),
    reason=st.none() | st.just("CMT-TIMEOUT"),
    attempts=st.integers(1, 5),
    full_state=st.booleans(),
    records=st.lists(st.builds(RecordCount, st.sampled_from(EntityType), _small, _small), max_size=3).map(tuple),
    failures=st.lists(
        st.builds(FailureCount, st.sampled_from(["event", "pet"]), st.sampled_from(["CMT-TIMEOUT", "EVENT-SCHEMA"])),
        max_size=3,
    ).map(tuple),
)


def folded(events: list[Settlement]) -> Counts:
    counts: Counts = {}
    for event in events:
        fold(counts, event)
    return counts


def filled(counts: Counts) -> set[Cell]:
    return {cell for cell in cells([counts]) if any(cell.numbers)}


def test_one_event_is_filed_under_day_market_and_operation() -> None:
    event = Settlement(
        "c1",
        "e1",
        "NEW",
        "DE",
        "2026-01-01",
        Outcome.PARTIAL,
        records=(RecordCount(EntityType.CONSUMER, 1, 0), RecordCount(EntityType.OPT_IN, 2, 1)),
        failures=(FailureCount("optIn", "CMT-ROW-INVALID"),),
    )
    assert folded([event]) == {
        "2026-01-01": {
            "DE": {
                "events": {"partial": 1},
                "records": {"consumer|NEW": [1, 0], "optIn|NEW": [2, 1]},
                "failures": {"optIn|NEW|CMT-ROW-INVALID": 1},
            }
        }
    }


@given(st.lists(settlements, max_size=12))
def test_nothing_is_lost_and_nothing_counted_twice(events: list[Settlement]) -> None:
    outcomes, records, failures = Counter[str](), [0, 0], 0
    for cell in cells([folded(events)]):
        if cell.kind == "events":
            outcomes[cell.key[0]] += cell.numbers[0]
        elif cell.kind == "records":
            records = [records[0] + cell.numbers[0], records[1] + cell.numbers[1]]
        else:
            failures += cell.numbers[0]
    assert outcomes == Counter(event.outcome.value for event in events)
    assert records[0] == sum(record.synced for event in events for record in event.records)
    assert records[1] == sum(record.failed for event in events for record in event.records)
    assert failures == sum(failure.count for event in events for failure in event.failures)


@given(st.lists(settlements, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(events: list[Settlement], rng) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(events)
    rng.shuffle(shuffled)
    assert folded(shuffled) == folded(events)


@given(st.lists(settlements, min_size=1, max_size=10), st.data())
def test_taking_an_event_out_leaves_what_the_others_came_to(events: list[Settlement], data: st.DataObject) -> None:
    taken = data.draw(st.sampled_from(range(len(events))))
    counts = folded(events)
    fold(counts, events[taken], sign=-1)
    assert filled(counts) == filled(folded(events[:taken] + events[taken + 1 :]))


@given(st.lists(settlements, max_size=10))
def test_a_changed_outcome_moves_the_event_and_keeps_their_number(events: list[Settlement]) -> None:
    counts = folded(events)
    for event in events:
        fold(counts, event, sign=-1)
        fold(counts, Settlement(event.consumer_id, event.event_id, "NEW", event.market, event.day, Outcome.SYNCED))
    numbers = Counter[str]()
    for cell in filled(counts):
        if cell.kind == "events":
            numbers[cell.key[0]] += cell.numbers[0]
    assert numbers == Counter({"synced": len(events)} if events else {})


@given(st.lists(settlements, max_size=10), st.lists(settlements, max_size=10))
def test_cells_of_several_partitions_stand_side_by_side(one: list[Settlement], other: list[Settlement]) -> None:
    both = list(cells([folded(one), folded(other)]))
    assert both == [*cells([folded(one)]), *cells([folded(other)])]


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "merge|split"},
        {"records": (RecordCount("a|b", 1, 0),)},
        {"failures": (FailureCount("a|b", "CMT-TIMEOUT"),)},
        {"failures": (FailureCount("event", "A|B"),)},
    ],
)
def test_what_could_not_be_read_again_is_never_counted(changes: dict[str, Any]) -> None:
    given = {"operation": "NEW", "market": "DE", "day": "2026-01-01", "outcome": Outcome.SYNCED} | changes
    with pytest.raises(ValueError, match="must not hold '\\|'"):
        Settlement("c1", "e1", **given)
