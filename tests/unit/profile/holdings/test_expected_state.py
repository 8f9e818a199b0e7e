"""What should be held after the last settled full state, and what counts as drift."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bundled import schema_path
from app.delivery.consumer_record import ConsumerState, DeletedRow, FullState, RecentEvent
from app.delivery.counts import Settlement
from app.delivery.outcome import Outcome
from app.profile.catalog_file import parse_catalog
from app.profile.consumer_history import after_settling
from app.profile.entities import CHILD_TYPES, Catalog, EntityType, Row
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.drift import DriftKind, RowComparison, compare
from app.profile.holdings.expected_state import ParentRow, expected_after, expected_without_event, failed_since
from app.profile.holdings.projection import Rows, apply
from app.profile.holdings.row_digests import Digests
from app.profile.samples.samples import sample_events
from app.profile.supersedes import deleted_rows

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
CATALOG: Catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())


def event(operation: Operation, pets: Sequence[dict[str, Any]] = (), **changes: Any) -> ProfileEvent:
    deletes = operation is Operation.DELETE
    values: dict[str, Any] = {
        "event_id": "e",
        "operation": operation,
        "consumer_id": "c",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": None if deletes else {"ConsumerId": "c", "FirstName": "Ann"},
        "entities": {PET: tuple(pets)} if pets else {},
    }
    return ProfileEvent(**{**values, **changes})


def settled(
    *events: ProfileEvent, outcomes: Sequence[Outcome] = (), listed: bool = True, catalog: Catalog = CATALOG
) -> ConsumerState:
    """The record of a consumer after these events, at offsets 0, 1, ...; not ``listed``: of an older program."""
    state: ConsumerState | None = None
    for offset, one in enumerate(events):
        outcome = outcomes[offset] if outcomes else Outcome.SYNCED
        settlement = Settlement(
            one.consumer_id,
            one.event_id,
            one.operation.value,
            one.market,
            "2026-01-01",
            outcome,
            full_state=one.is_full_state,
            deleted=deleted_rows(one, CATALOG),
            rows=Digests(catalog).of_event(one) if listed and outcome in (Outcome.SYNCED, Outcome.PARTIAL) else "",
        )
        state = after_settling(state, offset, settlement, 1000 + offset)
    assert state is not None
    return state


Held = dict[EntityType, list[Row]]


def as_retrieved(rows: Rows) -> Held:
    """Rows of a projection as the client returns them: all columns, nulls as empty texts."""
    return {
        entity: [{c: row.get(c) or "" for c in CATALOG[entity].columns} for row in rows.get(entity, {}).values()]
        for entity in EntityType
    }


def judged(held: Held, last: ProfileEvent, state: ConsumerState) -> RowComparison:
    return compare(held, expected_after(last, state, CATALOG), "c", CATALOG)


def briefly(comparison: RowComparison) -> list[tuple[str, str, str]]:
    return [(drift.entity.value, drift.kind.value, "/".join(drift.key)) for drift in comparison.drift]


def held(*pets: Row, parent: Row | None = None, **others: Row) -> Held:
    return {
        **{entity: [] for entity in EntityType},
        CONSUMER: [parent if parent is not None else {"ConsumerId": "c", "FirstName": "Ann"}],
        PET: [{"ConsumerId": "c", **row} for row in pets],
        **{EntityType(entity): [{"ConsumerId": "c", **row}] for entity, row in others.items()},
    }


REX, TOM = {"PetId": "1", "Name": "Rex"}, {"PetId": "2", "Name": "Tom"}
UPDATE, NEW = event(Operation.UPDATE, [REX, TOM]), event(Operation.NEW, [REX, TOM])
DELETE = event(Operation.DELETE, delete_scope=DeleteScope.PROFILE)
DELETE_TOM = event(Operation.DELETE, [{"PetId": "2"}], delete_scope=DeleteScope.ENTITIES, event_id="d")


def applied(comparison: RowComparison, before: Held) -> Held:
    """The rows after the writes of a repair, as an upsert and a delete change them."""

    def key(entity: EntityType, row: Row) -> tuple[Any, ...]:
        return tuple(CATALOG[entity].key_of(row).values())

    after = {entity: {key(entity, row): dict(row) for row in rows} for entity, rows in before.items()}
    for entity, row in comparison.delete_first:
        del after[entity][key(entity, row)]
    for entity, row in comparison.upserts:
        after[entity].setdefault(key(entity, row), {}).update(row)
    for entity, row in comparison.delete_last:
        del after[entity][key(entity, row)]
    return {entity: list(rows.values()) for entity, rows in after.items()}


@given(seed=st.integers(0, 10_000), count=st.integers(1, 25))
def test_what_the_sample_events_lead_to_is_no_drift(seed: int, count: int) -> None:
    events, rows, last = list(sample_events(count, seed, consumers=1)), Rows(), None
    for one in events:
        rows = apply(rows, one, CATALOG)
        last = one if one.is_full_state else last
    assert last is not None
    state = settled(*events)
    assert (
        compare(as_retrieved(rows), expected_after(last, state, CATALOG), last.consumer_id, CATALOG) == RowComparison()
    )


@given(seed=st.integers(0, 10_000), what=st.sampled_from(["removed", "changed", "added"]), pick=st.integers(0, 2**31))
def test_after_an_update_any_row_that_is_removed_changed_or_added_is_found_and_mended(
    seed: int, what: str, pick: int
) -> None:
    events = [one for one in sample_events(12, seed, consumers=1) if one.is_full_state]
    updates = [number for number, one in enumerate(events) if one.operation is Operation.UPDATE]
    if not updates:
        return
    events = events[: updates[-1] + 1]
    last, rng = events[-1], random.Random(pick)
    rows: Rows = {}
    for one in events:
        rows = apply(rows, one, CATALOG)
    before = as_retrieved(rows)
    entity = rng.choice([entity for entity in EntityType if before[entity]] if what != "added" else list(CHILD_TYPES))
    at = rng.randrange(len(before[entity])) if before[entity] else 0
    table = CATALOG[entity]
    after = {of: list(found) for of, found in before.items()}
    if what == "removed":
        del after[entity][at]
    elif what == "changed":
        named = {CONSUMER: last.consumer or {}}.get(entity, dict.fromkeys(table.columns))
        column = rng.choice([c for c in table.columns if c not in table.primary_key and c in named])
        after[entity][at] = {**after[entity][at], column: "something else"}
    else:
        after[entity].append(
            {**dict.fromkeys(table.columns, ""), "ConsumerId": last.consumer_id, table.primary_key[-1]: "x"}
        )

    expected = expected_after(last, settled(*events), CATALOG)
    found = compare(after, expected, last.consumer_id, CATALOG)

    kind = {"removed": DriftKind.MISSING, "changed": DriftKind.DIFFERENT, "added": DriftKind.EXTRA}[what]
    assert [(drift.entity, drift.kind) for drift in found.drift] == [(entity, kind)]
    assert compare(applied(found, after), expected, last.consumer_id, CATALOG) == RowComparison()


def test_after_an_update_a_column_of_an_entity_row_that_it_does_not_name_must_be_empty_but_not_of_the_parent() -> None:
    there = held({**REX, "Breed": "Collie"}, TOM, parent={"ConsumerId": "c", "FirstName": "Ann", "LastName": "Lee"})
    (drift,) = judged(there, UPDATE, settled(UPDATE)).drift
    assert (drift.entity, drift.kind, drift.key) == (PET, DriftKind.DIFFERENT, ("c", "1"))
    assert [(column.column, column.wanted, column.held) for column in drift.columns] == [("Breed", None, "Collie")]


def test_after_a_new_other_rows_and_columns_are_neither_right_nor_wrong() -> None:
    assert expected_after(NEW, settled(NEW), CATALOG).in_part
    assert not expected_after(UPDATE, settled(UPDATE), CATALOG).in_part
    there = held({**REX, "Breed": "Collie"}, TOM, {"PetId": "3"}, contact={"ContactId": "1"})
    assert judged(there, NEW, settled(NEW)) == RowComparison()
    assert briefly(judged(held({**REX, "Name": "Max"}, {"PetId": "3"}), NEW, settled(NEW))) == [
        ("pet", "different", "c/1"),
        ("pet", "missing", "c/2"),
    ]


def test_after_a_delete_nothing_may_be_left_and_the_parent_goes_last() -> None:
    found = judged(held(REX, optIn={"OptInId": "9"}), DELETE, settled(NEW, DELETE))
    assert briefly(found) == [("pet", "extra", "c/1"), ("optIn", "extra", "c/9"), ("consumer", "extra", "c")]
    assert [entity for entity, _ in found.delete_last] == [PET, OPT_IN, CONSUMER]
    assert judged({}, DELETE, settled(NEW, DELETE)) == RowComparison()


@pytest.mark.parametrize("full", [UPDATE, NEW])
def test_a_row_that_was_deleted_since_must_be_gone(full: ProfileEvent) -> None:
    state = settled(full, DELETE_TOM)
    assert judged(held(REX), full, state) == RowComparison()
    found = judged(held(REX, TOM), full, state)
    assert briefly(found) == [("pet", "extra", "c/2")]
    assert found.delete_last == ((PET, {"ConsumerId": "c", "PetId": "2"}),)


def test_when_more_rows_were_deleted_than_are_remembered_rows_may_miss_but_not_differ() -> None:
    state = ConsumerState(9, "DE", full=FullState(1, "UPDATE", "e"), deleted_forgotten=5)
    assert "more rows were deleted" in (expected_after(UPDATE, state, CATALOG).in_part or "")
    assert judged(held(), UPDATE, state) == RowComparison()
    assert briefly(judged(held({**REX, "Name": "Max"}), UPDATE, state)) == [("pet", "different", "c/1")]
    assert briefly(judged({**held(), CONSUMER: []}, UPDATE, state)) == [("consumer", "missing", "c")]


def test_a_value_that_is_spelled_otherwise_is_no_drift() -> None:
    update = event(Operation.UPDATE, [{"PetId": "1", "WeightKg": Decimal("4.50"), "BirthDate": "2020-02-01"}])
    there = held({"PetId": "1", "WeightKg": "4.5000", "BirthDate": "2/1/2020 12:00:00 AM"})
    assert judged(there, update, settled(update)) == RowComparison()


def test_a_key_that_may_be_spelled_otherwise_is_deleted_before_it_is_posted() -> None:
    update = event(Operation.UPDATE, [{"PetId": "7"}])
    found = judged(held({"PetId": "007"}), update, settled(update))
    assert briefly(found) == [("pet", "missing", "c/7"), ("pet", "extra", "c/007")]
    assert (len(found.delete_first), len(found.delete_last)) == (1, 0)


def test_a_key_in_another_case_or_with_other_trailing_blanks_is_no_drift() -> None:
    update = event(Operation.UPDATE, [{"PetId": "p1", "Name": "Rex"}])
    assert judged(held({"PetId": "P1 ", "Name": "Rex"}), update, settled(update)) == RowComparison()
    found = judged(held({"PetId": "P1 ", "Name": "Tom"}), update, settled(update))
    assert [(drift.kind, [column.column for column in drift.columns]) for drift in found.drift] == [
        ("different", ["Name"])
    ]


def test_a_row_that_was_deleted_under_another_spelling_of_its_key_is_not_wanted() -> None:
    update = event(Operation.UPDATE, [{"PetId": "p1"}, TOM])
    state = replace(settled(update), deleted=(DeletedRow(9, "pet", ("P1 ",)),), offset=9)
    assert judged(held(TOM), update, state) == RowComparison()
    assert briefly(judged(held({"PetId": "P1"}, TOM), update, state)) == [("pet", "extra", "c/P1")]


def test_a_row_that_an_event_lists_twice_counts_once() -> None:
    update = event(Operation.UPDATE, [REX, {"PetId": "1", "Breed": "Collie"}])
    assert judged(held({**REX, "Breed": "Collie"}), update, settled(update)) == RowComparison()
    found = judged(held(REX), update, settled(update))
    assert found.upserts == ((PET, {"ConsumerId": "c", **REX, "Breed": "Collie"}),)


@pytest.mark.parametrize(
    ("last", "there", "drift"),
    [
        (UPDATE, held(TOM), []),
        (UPDATE, {}, [("consumer", "missing", "c")]),
        (DELETE, {}, []),
        (DELETE, held(), [("consumer", "extra", "c")]),
    ],
)
def test_without_event_and_list_only_the_parent_is_known(last: ProfileEvent, there: Held, drift: list[Any]) -> None:
    expected = expected_without_event(settled(last, listed=False), CATALOG)
    assert (expected.in_part is None) is (last is DELETE)
    found = compare(there, expected, "c", CATALOG)
    assert briefly(found) == drift
    assert found.beyond_repair is bool(drift and last is UPDATE)


def test_without_any_full_state_only_deleted_rows_are_known() -> None:
    state = settled(DELETE_TOM)
    expected = expected_without_event(state, CATALOG)
    assert (expected.parent, bool(expected.in_part)) == (ParentRow.UNKNOWN, True)
    assert briefly(compare(held(REX, TOM), expected, "c", CATALOG)) == [("pet", "extra", "c/2")]
    assert compare({}, expected, "c", CATALOG) == RowComparison()


def test_an_event_that_failed_after_the_full_state_is_seen_one_before_it_is_not() -> None:
    later = event(Operation.UPDATE, event_id="later")
    assert failed_since(settled(UPDATE, later, outcomes=[Outcome.SYNCED, Outcome.FAILED]))
    assert not failed_since(settled(UPDATE, later, outcomes=[Outcome.FAILED, Outcome.SYNCED]))
    assert not failed_since(settled(UPDATE, later, outcomes=[Outcome.SYNCED, Outcome.INVALID]))
    assert failed_since(ConsumerState(0, "DE", recent=(RecentEvent("x", "NEW", "failed", "R", 1, 1),)))


def test_an_event_that_failed_is_not_forgotten_when_many_have_followed() -> None:
    """Else the rows that a DELETE had removed before it failed would be called missing, and be brought back."""
    last = event(Operation.UPDATE, [{"PetId": str(number)} for number in range(9)], event_id="full")
    deletes = [
        event(Operation.DELETE, [{"PetId": str(number)}], event_id=f"d{number}", delete_scope=DeleteScope.ENTITIES)
        for number in range(7)
    ]
    assert not failed_since(settled(last, *deletes)), "none failed"
    outcomes = [Outcome.SYNCED, Outcome.FAILED, *[Outcome.SYNCED] * 6]
    assert failed_since(settled(last, *deletes, outcomes=outcomes))
    assert not failed_since(settled(last, *deletes, last, outcomes=[*outcomes, Outcome.SYNCED])), "all is written anew"


def test_a_deleted_row_before_the_full_state_plays_no_part() -> None:
    state = ConsumerState(9, "DE", full=FullState(5, "UPDATE", "e"), deleted=(DeletedRow(3, "pet", ("1",)),))
    assert judged(held(REX, TOM), UPDATE, state) == RowComparison()
