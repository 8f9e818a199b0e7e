"""What counts as drift when the event is no longer in Kafka, or says less than the list in the consumer's record."""

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
from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import Settlement
from app.delivery.outcome import Outcome
from app.profile.catalog_file import parse_catalog
from app.profile.consumer_history import after_settling
from app.profile.entities import CHILD_TYPES, Catalog, DataExtension, EntityType, Row
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.drift import WHICH_COLUMNS, DriftKind, RowComparison, compare
from app.profile.holdings.expected_state import (
    IN_PART_COLUMNS,
    IN_PART_LOST,
    IN_PART_MANY,
    IN_PART_NEW,
    IN_PART_SPELLING,
    expected_after,
    expected_without_event,
)
from app.profile.holdings.projection import Rows, apply
from app.profile.holdings.row_digests import Digests
from app.profile.holdings.row_list import ROWS_KEPT
from app.profile.samples.samples import sample_events
from app.profile.supersedes import deleted_rows

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
CATALOG: Catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
Held = dict[EntityType, list[Row]]


def event(operation: str, *pets: Row, **changes: Any) -> ProfileEvent:
    """``DELETE`` with pets deletes these, without any the profile."""
    deletes = operation == "DELETE"
    values: dict[str, Any] = {
        "event_id": "e",
        "operation": Operation(operation),
        "consumer_id": "c",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": None if deletes else {"ConsumerId": "c", "FirstName": "Ann"},
        "entities": {PET: pets} if pets else {},
        "delete_scope": (DeleteScope.ENTITIES if pets else DeleteScope.PROFILE) if deletes else None,
    }
    return ProfileEvent(**{**values, **changes})


def settled(*events: ProfileEvent, catalog: Catalog = CATALOG) -> ConsumerState:
    state: ConsumerState | None = None
    for offset, one in enumerate(events):
        settlement = Settlement(
            one.consumer_id,
            f"e{offset}",
            one.operation.value,
            one.market,
            "2026-01-01",
            Outcome.SYNCED,
            full_state=one.is_full_state,
            deleted=deleted_rows(one, catalog),
            rows=Digests(catalog).of_event(one),
        )
        state = after_settling(state, offset, settlement, 1000 + offset)
    assert state is not None
    return state


def held(*pets: Row, parent: Row | None = None, **others: Row) -> Held:
    return {
        **{entity: [] for entity in EntityType},
        CONSUMER: [parent if parent is not None else {"ConsumerId": "c", "FirstName": "Ann"}],
        PET: [{"ConsumerId": "c", **row} for row in pets],
        **{EntityType(entity): [{"ConsumerId": "c", **row}] for entity, row in others.items()},
    }


def judged(there: Held, state: ConsumerState, catalog: Catalog = CATALOG) -> RowComparison:
    return compare(there, expected_without_event(state, catalog), "c", catalog)


def briefly(comparison: RowComparison) -> list[tuple[str, str, str]]:
    return [(drift.entity.value, drift.kind.value, "/".join(drift.key)) for drift in comparison.drift]


def as_retrieved(rows: Rows) -> Held:
    return {
        entity: [{c: row.get(c) or "" for c in CATALOG[entity].columns} for row in rows.get(entity, {}).values()]
        for entity in EntityType
    }


REX, TOM = {"PetId": "1", "Name": "Rex"}, {"PetId": "2", "Name": "Tom"}
MAX = {**REX, "Name": "Max"}
NO_PARENT: Held = {**held(), CONSUMER: []}


@given(seed=st.integers(0, 10_000), count=st.integers(1, 25))
def test_what_the_sample_events_lead_to_is_no_drift(seed: int, count: int) -> None:
    events, rows = list(sample_events(count, seed, consumers=1)), Rows()
    for one in events:
        rows = apply(rows, one, CATALOG)
    expected = expected_without_event(settled(*events), CATALOG)
    assert compare(as_retrieved(rows), expected, events[0].consumer_id, CATALOG) == RowComparison()
    updated = any(one.operation is not Operation.NEW and one.is_full_state for one in events)
    assert expected.in_part == (None if updated else IN_PART_NEW)


@given(seed=st.integers(0, 10_000), what=st.sampled_from(["removed", "changed", "added"]), pick=st.integers(0, 2**31))
def test_any_row_that_is_removed_changed_or_added_is_found(seed: int, what: str, pick: int) -> None:
    events = [one for one in sample_events(12, seed, consumers=1) if one.is_full_state]
    updates = [number for number, one in enumerate(events) if one.operation is Operation.UPDATE]
    if not updates:
        return
    events, rng = events[: updates[-1] + 1], random.Random(pick)
    rows: Rows = {}
    for one in events:
        rows = apply(rows, one, CATALOG)
    there = as_retrieved(rows)
    entity = rng.choice([entity for entity in EntityType if there[entity]] if what != "added" else list(CHILD_TYPES))
    at = rng.randrange(len(there[entity])) if there[entity] else 0
    table = CATALOG[entity]
    if what == "removed":
        del there[entity][at]
    elif what == "changed":
        named = {CONSUMER: events[-1].consumer or {}}.get(entity, dict.fromkeys(table.columns))
        column = rng.choice([c for c in table.columns if c not in table.primary_key and c in named])
        there[entity][at] = {**there[entity][at], column: "something else"}
    else:
        row = {**dict.fromkeys(table.columns, ""), "ConsumerId": events[-1].consumer_id, table.primary_key[-1]: "x"}
        there[entity].append(row)

    found = compare(there, expected_without_event(settled(*events), CATALOG), events[-1].consumer_id, CATALOG)

    kind = {"removed": DriftKind.MISSING, "changed": DriftKind.DIFFERENT, "added": DriftKind.EXTRA}[what]
    assert [(drift.entity, drift.kind) for drift in found.drift] == [(entity, kind)]
    assert found.beyond_repair is (what != "added")
    assert (found.upserts, len(found.delete_last)) == ((), 1 if what == "added" else 0)


# The table of cases: what settled, what is held, what is drift, why only in part

UPDATE, NEW = event("UPDATE", REX, TOM), event("NEW", REX, TOM)
WIDE = event("UPDATE", *({"PetId": str(number)} for number in range(ROWS_KEPT)))
MISSING, DIFFERENT, EXTRA = ("pet", "missing", "c/1"), ("pet", "different", "c/1"), ("pet", "extra", "c/3")
CASES: list[tuple[str, Sequence[ProfileEvent], Held, list[tuple[str, str, str]], str | None]] = [
    ("all there", [UPDATE], held(REX, TOM), [], None),
    ("missing", [UPDATE], held(TOM), [MISSING], None),
    ("different", [UPDATE], held(MAX, TOM), [DIFFERENT], None),
    ("extra", [UPDATE], held(REX, TOM, {"PetId": "3"}), [EXTRA], None),
    ("another entity", [UPDATE], held(REX, TOM, contact={"ContactId": "1"}), [("contact", "extra", "c/1")], None),
    ("parent missing", [UPDATE], {**held(REX, TOM), CONSUMER: []}, [("consumer", "missing", "c")], None),
    (
        "parent different",
        [UPDATE],
        held(REX, TOM, parent={"ConsumerId": "c", "FirstName": "Bo"}),
        [("consumer", "different", "c")],
        None,
    ),
    (
        "a column of the parent that is not named",
        [UPDATE],
        held(REX, TOM, parent={"ConsumerId": "c", "FirstName": "Ann", "LastName": "Lee"}),
        [],
        None,
    ),
    ("a column that an UPDATE does not name", [UPDATE], held({**REX, "Breed": "Collie"}, TOM), [DIFFERENT], None),
    ("a column that a NEW does not name", [NEW], held({**REX, "Breed": "Collie"}, TOM), [], IN_PART_NEW),
    ("another row after a NEW", [NEW], held(REX, TOM, {"PetId": "3"}), [], IN_PART_NEW),
    ("a row of a NEW", [NEW], held(MAX), [("pet", "missing", "c/2"), DIFFERENT], IN_PART_NEW),
    ("NEW after DELETE", [event("DELETE"), NEW], held(REX, TOM, {"PetId": "3"}), [EXTRA], None),
    (
        "NEW after UPDATE",
        [event("UPDATE", TOM), event("NEW", REX)],
        held(MAX),
        [("pet", "missing", "c/2"), DIFFERENT],
        None,
    ),
    ("deleted since", [UPDATE, event("DELETE", {"PetId": "2"})], held(REX), [], None),
    ("deleted, there", [NEW, event("DELETE", {"PetId": "2"})], held(REX, TOM), [("pet", "extra", "c/2")], IN_PART_NEW),
    ("DELETE", [UPDATE, event("DELETE")], held(REX), [("pet", "extra", "c/1"), ("consumer", "extra", "c")], None),
    (
        "too many",
        [WIDE],
        held(*({"PetId": str(n)} for n in range(1, ROWS_KEPT + 9))),
        [("pet", "missing", "c/0")],
        IN_PART_MANY,
    ),
    ("unusual time", [event("UPDATE", {**REX, "BirthDate": "2020-01-02T00:00"})], held(REX), [], IN_PART_SPELLING),
]


@pytest.mark.parametrize(
    ("events", "there", "drift", "in_part"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_what_is_drift(
    events: Sequence[ProfileEvent], there: Held, drift: list[tuple[str, str, str]], in_part: str | None
) -> None:
    state = settled(*events)
    found = judged(there, state)
    assert briefly(found) == drift
    assert expected_without_event(state, CATALOG).in_part == in_part
    assert found.beyond_repair is any(kind != "extra" for _, kind, _ in drift)
    assert found.upserts == ()
    notes = {drift.note for drift in found.drift if drift.kind is DriftKind.DIFFERENT}
    assert notes <= {WHICH_COLUMNS}


def test_another_spelling_of_a_value_is_no_drift() -> None:
    update = event("UPDATE", {"PetId": 1, "WeightKg": Decimal("4.50"), "BirthDate": "2020-02-01", "Name": None})
    there = held({"PetId": "1.0", "WeightKg": "4.5000", "BirthDate": "2/1/2020 12:00:00 AM", "Name": ""})
    assert judged(there, settled(update)) == RowComparison()


def test_a_row_that_may_be_the_missing_one_under_another_spelling_of_its_key_is_not_deleted() -> None:
    """Nobody could post it again."""
    found = judged(held({"PetId": "007"}, {"PetId": "9"}), settled(event("UPDATE", {"PetId": "7"})))
    assert briefly(found) == [("pet", "missing", "c/7"), ("pet", "extra", "c/007"), ("pet", "extra", "c/9")]
    assert (found.delete_first, found.delete_last) == ((), ((PET, {"ConsumerId": "c", "PetId": "9"}),))


def test_equal_rows_of_two_consumers_and_of_two_keys_have_other_digests() -> None:
    ann, bob = event("UPDATE", REX, {**REX, "PetId": "2"}), event("UPDATE", REX, consumer_id="d")
    texts = [settled(ann).rows.split(";p")[1].split(",")[1:], settled(bob).rows.split(";p")[1].split(",")[1:]]
    digests = [row[:8] for rows in texts for row in rows]
    assert len(set(digests)) == 3


# Catalogs


def changed(entity: EntityType = PET, **table: Any) -> Catalog:
    known = CATALOG[entity]
    values = {"customer_key": known.customer_key, "primary_key": known.primary_key, "columns": known.columns, **table}
    return replace(CATALOG, data_extensions={**CATALOG.data_extensions, entity: DataExtension(**values)})


def test_when_columns_have_changed_the_keys_are_still_checked() -> None:
    catalog = changed(columns=(*CATALOG[PET].columns, "Colour"))
    state = settled(UPDATE)
    assert expected_without_event(state, catalog).in_part == IN_PART_COLUMNS
    assert judged(held(MAX, TOM), state, catalog) == RowComparison()
    assert briefly(judged(held(TOM, {"PetId": "3"}), state, catalog)) == [MISSING, EXTRA]


@pytest.mark.parametrize(
    "catalog", [changed(primary_key=("PetId",)), changed(customer_key="Other"), replace(CATALOG, account_id="1")]
)
def test_when_rows_go_elsewhere_only_the_parent_is_known(catalog: Catalog) -> None:
    state = settled(UPDATE)
    assert expected_without_event(state, catalog).in_part == IN_PART_LOST
    assert judged(held({"PetId": "3"}), state, catalog) == RowComparison()
    assert briefly(judged(NO_PARENT, state, catalog)) == [("consumer", "missing", "c")]


def test_a_parent_row_with_more_key_columns_is_checked_without_its_key_in_the_record() -> None:
    catalog = changed(CONSUMER, primary_key=("ConsumerId", "EmailAddress"))
    state = settled(event("UPDATE", consumer={"ConsumerId": "c", "EmailAddress": "a@example.com"}), catalog=catalog)
    assert b"example" not in state.encode()
    right = held(parent={"ConsumerId": "c", "EmailAddress": "a@example.com"})
    assert judged(right, state, catalog) == RowComparison()
    other = held(parent={"ConsumerId": "c", "EmailAddress": "b@example.com"})
    assert briefly(judged(other, state, catalog)) == [("consumer", "different", "c")]


# With the event in Kafka


def test_after_a_new_the_rows_known_before_are_checked_and_others_are_drift_when_the_list_is_complete() -> None:
    new = event("NEW", REX)
    state = settled(event("UPDATE", TOM), new)
    expected = expected_after(new, state, CATALOG)
    assert expected.in_part is None
    found = compare(held(MAX, {**TOM, "Breed": "x"}, {"PetId": "3"}), expected, "c", CATALOG)
    assert briefly(found) == [DIFFERENT, ("pet", "different", "c/2"), EXTRA]
    assert [column.column for column in found.drift[0].columns] == ["Name"]
    assert (found.drift[1].note, found.beyond_repair) == (WHICH_COLUMNS, True)
    assert [row["PetId"] for _, row in found.upserts] == ["1"]
    assert [row["PetId"] for _, row in found.delete_last] == ["3"]
    assert compare(held({**REX, "Breed": "left alone"}, TOM), expected, "c", CATALOG) == RowComparison()


def test_a_row_is_found_under_another_spelling_of_its_key() -> None:
    state = settled(event("UPDATE", {"PetId": "p1", "Name": "Rex"}))
    assert judged(held({"PetId": "P1 ", "Name": "Rex"}), state) == RowComparison()
    assert briefly(judged(held({"PetId": "P1 ", "Name": "Tom"}), state)) == [("pet", "different", "c/p1")]


def test_two_spellings_of_a_key_in_two_events_are_one_row() -> None:
    new = event("NEW", {"PetId": "p1", "Name": "Rex"})
    state = settled(event("UPDATE", {"PetId": "P1"}), new)
    assert state.rows.count("p1") + state.rows.count("P1") == 1
    expected = expected_after(new, state, CATALOG)
    assert compare(held({"PetId": "P1", "Name": "Rex"}), expected, "c", CATALOG) == RowComparison()


@pytest.mark.parametrize("operation", ["UPDATE", "NEW"])
def test_with_a_complete_list_rows_that_were_deleted_and_forgotten_are_known_to_be_gone(operation: str) -> None:
    full = event(operation, REX, TOM)
    state = settled(event("DELETE"), full, event("DELETE", {"PetId": "2"}))
    state = replace(state, deleted=(), deleted_forgotten=2)
    expected = expected_after(full, state, CATALOG)
    assert (expected.in_part, expected.may_miss) == (None, False)
    assert compare(held(REX), expected, "c", CATALOG) == RowComparison()
    assert briefly(compare(held(), expected, "c", CATALOG)) == [MISSING]
    assert briefly(compare(held(REX, TOM), expected, "c", CATALOG)) == [("pet", "extra", "c/2")]
