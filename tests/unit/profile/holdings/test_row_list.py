"""The list of rows that should be held: how it follows a consumer's events, what it looks like, its bounds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bundled import schema_path
from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import Settlement
from app.delivery.outcome import Outcome
from app.profile.catalog_file import parse_catalog
from app.profile.consumer_history import after_settling
from app.profile.entities import Catalog, DataExtension, EntityType, Row
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.row_digests import Digests
from app.profile.holdings.row_list import KEY_CHARACTERS, LETTERS, ROWS_KEPT, ListedRow, RowList, key_text, row_list
from app.profile.keys import folded, merged
from app.profile.supersedes import Superseded, deleted_rows, what_is_left

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
CATALOG: Catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
DIGESTS = Digests(CATALOG)
REX, TOM = {"PetId": "1", "Name": "Rex"}, {"PetId": "2", "Name": "Tom"}


def event(operation: str, *pets: Row, parent: Row | None = None, **changes: Any) -> ProfileEvent:
    """``DELETE`` with pets deletes these, without any the profile."""
    deletes = operation == "DELETE"
    values: dict[str, Any] = {
        "event_id": "e",
        "operation": Operation(operation),
        "consumer_id": "c",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": None if deletes else {"ConsumerId": "c", **(parent or {"FirstName": "Ann"})},
        "entities": {PET: pets} if pets else {},
        "delete_scope": (DeleteScope.ENTITIES if pets else DeleteScope.PROFILE) if deletes else None,
    }
    return ProfileEvent(**{**values, **changes})


def settlement(
    one: ProfileEvent, outcome: Outcome = Outcome.SYNCED, catalog: Catalog = CATALOG, event_id: str = "e"
) -> Settlement:
    reached = outcome in (Outcome.SYNCED, Outcome.PARTIAL)
    return Settlement(
        one.consumer_id,
        event_id,
        one.operation.value,
        one.market,
        "2026-01-01",
        outcome,
        full_state=one.is_full_state,
        deleted=deleted_rows(one, catalog),
        rows=Digests(catalog).of_event(one) if reached else "",
    )


def settled(*events: ProfileEvent | Settlement, before: ConsumerState | None = None) -> ConsumerState:
    """The record after these, at one offset after the other."""
    state = before
    for one in events:
        what = settlement(one) if isinstance(one, ProfileEvent) else one
        state = after_settling(state, 0 if state is None else state.offset + 1, what, 1000)
    assert state is not None
    return state


def listed(state: ConsumerState, catalog: Catalog = CATALOG) -> RowList | None:
    return row_list(state.rows, Digests(catalog).head)


def briefly(state: ConsumerState, catalog: Catalog = CATALOG) -> tuple[bool, list[str]] | None:
    """Whether the list is complete, and the keys of its entity rows; those without a digest in brackets."""
    found = listed(state, catalog)
    if found is None:
        return None
    assert [row.entity for row in found.rows if row.entity.is_parent] in ([CONSUMER], [])
    rows = [row for row in found.rows if not row.entity.is_parent]
    return found.complete, ["/".join(row.key) if row.digest else f"({'/'.join(row.key)})" for row in rows]


# It follows the events


def test_an_update_says_all_rows() -> None:
    assert briefly(settled(event("UPDATE", REX, TOM))) == (True, ["1", "2"])
    assert briefly(settled(event("UPDATE", REX, TOM), event("UPDATE", TOM))) == (True, ["2"])
    assert briefly(settled(event("UPDATE", REX), event("UPDATE"))) == (True, [])


def test_the_rows_of_a_new_come_to_those_known_and_are_complete_when_those_were() -> None:
    assert briefly(settled(event("NEW", REX))) == (False, ["1"])
    assert briefly(settled(event("NEW", REX), event("NEW", TOM))) == (False, ["1", "2"])
    assert briefly(settled(event("UPDATE", REX), event("NEW", TOM))) == (True, ["1", "2"])
    assert briefly(settled(event("DELETE"), event("NEW", TOM))) == (True, ["2"])


def test_a_row_of_a_new_stands_for_the_one_known_before() -> None:
    before, after = settled(event("UPDATE", REX)), settled(event("UPDATE", REX), event("NEW", {**REX, "Name": "Max"}))
    one, other = listed(before), listed(after)
    assert one is not None
    assert other is not None
    assert [row.key for row in one.rows] == [row.key for row in other.rows]
    assert one.rows[1].digest != other.rows[1].digest
    assert one.rows[1].kinds != other.rows[1].kinds, "the NEW leaves the columns alone that it does not name"


def test_a_delete_takes_rows_away() -> None:
    assert briefly(settled(event("UPDATE", REX, TOM), event("DELETE", {"PetId": "1"}))) == (True, ["2"])
    assert briefly(settled(event("NEW", REX, TOM), event("DELETE", {"PetId": "1"}, {"PetId": "9"}))) == (False, ["2"])
    assert briefly(settled(event("UPDATE", REX, TOM), event("DELETE"))) == (True, [])
    assert briefly(settled(event("DELETE", {"PetId": "1"}))) is None


def test_of_a_partial_event_all_rows_are_wanted() -> None:
    assert briefly(settled(settlement(event("UPDATE", REX, TOM), Outcome.PARTIAL))) == (True, ["1", "2"])


def test_after_a_failure_nothing_is_known_until_the_next_full_list() -> None:
    """It may have written a part: deleted rows before it could not post, or posted some in an earlier attempt."""
    failed = settled(event("UPDATE", REX), settlement(event("UPDATE", TOM), Outcome.FAILED))
    assert briefly(failed) is None
    assert briefly(settled(event("NEW", TOM), before=failed)) == (False, ["2"])
    assert briefly(settled(event("UPDATE", TOM), before=failed)) == (True, ["2"])


@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.SUPERSEDED, Outcome.DISCARDED])
def test_what_wrote_nothing_changes_nothing(outcome: Outcome) -> None:
    before = settled(event("UPDATE", REX))
    assert settled(settlement(event("UPDATE", TOM), outcome), before=before).rows == before.rows


def test_a_failure_before_the_last_full_state_changes_nothing() -> None:
    before = settled(event("DELETE"), event("UPDATE", REX))
    assert after_settling(before, 0, settlement(event("UPDATE", TOM), Outcome.FAILED), 0).rows == before.rows


def test_after_an_older_state_that_an_operator_forced_the_rows_are_not_known() -> None:
    before = settled(event("DELETE"), event("UPDATE", REX))
    assert before.rows
    assert after_settling(before, 0, settlement(event("NEW", TOM)), 0).rows == ""
    assert after_settling(before, 0, settlement(event("NEW", TOM)), 0).full == before.full


def test_a_dead_letter_that_was_closed_without_running_stays_where_it_was_in_the_history() -> None:
    state = after_settling(None, 0, settlement(event("NEW", TOM), Outcome.FAILED, event_id="first"), 10)
    state = after_settling(state, 1, replace(settlement(event("DELETE")), erases=True), 20)
    assert (state.recent[0].operation, state.erased) == ("DELETE", 1)
    closed = replace(settlement(event("NEW", TOM), Outcome.SUPERSEDED), event_id="first", reason="SYNC-ERASED")
    state = after_settling(state, 0, closed, 30)
    assert [(one.outcome, one.settled_ms) for one in state.recent] == [("synced", 20), ("superseded", 10)]
    other = replace(closed, event_id="forgotten long ago")
    assert after_settling(state, 0, other, 40).recent == state.recent


# Catalogs


def other_catalog(**pet: Any) -> Catalog:
    table = CATALOG[PET]
    values = {"customer_key": table.customer_key, "primary_key": table.primary_key, "columns": table.columns, **pet}
    return replace(CATALOG, data_extensions={**CATALOG.data_extensions, PET: DataExtension(**values)})


WIDER = other_catalog(columns=(*CATALOG[PET].columns, "Colour"))
ELSEWHERE = [
    other_catalog(customer_key="Other"),
    other_catalog(primary_key=("PetId",)),
    replace(CATALOG, account_id="510001234"),
]


def test_when_columns_have_changed_only_the_keys_are_known() -> None:
    state = settled(event("UPDATE", REX))
    assert briefly(state, WIDER) == (True, ["(1)"])
    state = settled(settlement(event("NEW", TOM), catalog=WIDER), before=state)
    assert briefly(state, WIDER) == (True, ["(1)", "2"])
    state = settled(settlement(event("DELETE", {"PetId": "2"}), catalog=WIDER), before=state)
    assert briefly(state, WIDER) == (True, ["(1)"])
    assert briefly(settled(settlement(event("UPDATE", REX), catalog=WIDER), before=state), WIDER) == (True, ["1"])


@pytest.mark.parametrize("catalog", ELSEWHERE)
def test_when_rows_go_elsewhere_nothing_is_known_of_those_before(catalog: Catalog) -> None:
    state = settled(event("UPDATE", REX))
    assert briefly(state, catalog) is None
    assert briefly(settled(settlement(event("NEW", TOM), catalog=catalog), before=state), catalog) == (False, ["2"])
    assert settled(settlement(event("DELETE", {"PetId": "1"}), catalog=catalog), before=state).rows == ""


# The text


def test_the_text_of_a_list_is_compact_and_stays_as_it_is() -> None:
    """Records of it are in Kafka: a change makes every digest one that differs."""
    one = event("UPDATE", {"PetId": "P-1", "WeightKg": 4}, {"PetId": "P-2", "BirthDate": "2020-01-02"})
    assert settled(one).rows == "+8DU13Tq6;-IIAAAA,1BLKS26j;pJJJY,6/SlzM+OP-1;pJJMI,48R3alRDP-2"


def test_a_consumer_without_entity_rows_costs_forty_bytes_at_most() -> None:
    parent = dict.fromkeys(CATALOG[CONSUMER].columns, "x")
    with_list = settled(event("NEW", parent=parent, consumer={**parent, "ConsumerId": "c"}))
    assert len(with_list.encode()) - len(replace(with_list, rows="").encode()) <= 40
    gone = settled(event("DELETE"))
    assert len(gone.encode()) - len(replace(gone, rows="").encode()) <= 20


def test_a_record_without_a_list_is_read_and_written_as_before() -> None:
    state = replace(settled(event("UPDATE", REX)), rows="")
    document = orjson.loads(state.encode())
    assert "rows" not in document
    assert ConsumerState.decode(state.encode()) == state
    assert briefly(settled(event("NEW", TOM), before=state)) == (False, ["2"])


def test_no_value_stands_in_a_record() -> None:
    update = event("UPDATE", {"PetId": "1", "Name": "Waldi"}, parent={"EmailAddress": "ann@example.com"})
    for private in (b"Waldi", b"ann@example.com"):
        assert private not in settled(update).encode()


PARTS = st.text(st.sampled_from('ab~0123;,/|+ \u00e4"\\'), min_size=1, max_size=6)


@given(st.lists(PARTS, min_size=1, max_size=3, unique=True))
def test_any_key_reads_back(keys: list[str]) -> None:
    found = listed(settled(event("UPDATE", *({"PetId": key} for key in keys))))
    assert found is not None
    assert [row.key for row in found.rows[1:]] == [(key,) for key in keys]


@given(st.lists(PARTS, min_size=2, max_size=2), st.lists(PARTS, min_size=2, max_size=2))
def test_keys_of_several_columns_are_told_apart(one: list[str], other: list[str]) -> None:
    assert (key_text(one) == key_text(other)) is (one == other)


def test_a_key_that_cannot_be_written_does_no_harm() -> None:
    """JSON can escape half of a surrogate pair; orjson refuses to write it."""
    assert ConsumerState.decode(settled(event("UPDATE", {"PetId": "\ud800", "Name": "\ud800"})).encode())
    # Nothing is sent in a dry run, so nothing refuses it.
    known = settled(event("DELETE", {"PetId": "\ud800"}, {"PetId": "P-1"}))
    assert [row.key for row in ConsumerState.decode(known.encode()).deleted] == [("P-1",)]


def test_every_entity_type_has_its_letter() -> None:
    assert len(set(LETTERS.values())) == len(EntityType) == len(LETTERS)


# Its bounds


def test_of_too_many_rows_the_first_are_listed_in_part() -> None:
    pets = [{"PetId": str(number)} for number in range(ROWS_KEPT + 5)]
    state = settled(event("UPDATE", *pets))
    assert briefly(state) == (False, [str(number) for number in range(ROWS_KEPT - 1)]), "the parent row counts"
    assert len(state.rows) < 20 * ROWS_KEPT
    assert briefly(settled(event("DELETE", {"PetId": "0"}), before=state)) == (
        False,
        [str(number) for number in range(1, ROWS_KEPT - 1)],
    )


def test_long_keys_are_cut_earlier_and_the_record_stays_small() -> None:
    pets = [{"PetId": f"{number}" + "\u00e4" * 5_000} for number in range(9)]
    state = settled(event("UPDATE", *pets))
    found = briefly(state)
    assert found is not None
    assert (found[0], len(found[1])) == (False, 3)
    assert len(state.rows) < KEY_CHARACTERS + 1_000


def test_a_list_that_grows_too_long_by_a_new_is_in_part_from_then_on() -> None:
    pets = [{"PetId": str(number)} for number in range(ROWS_KEPT - 2)]
    full = settled(event("UPDATE", *pets), event("NEW", {"PetId": "a"}))
    assert briefly(full) == (True, [*(pet["PetId"] for pet in pets), "a"])
    over = settled(event("NEW", {"PetId": "b"}), before=full)
    assert briefly(over) == (False, [*(pet["PetId"] for pet in pets), "a"])
    assert settled(event("NEW", {"PetId": "b"}), before=over).rows == over.rows


# Against a model: any order of settling that the engine allows


@dataclass
class Model:
    """What events that reached Marketing Cloud say of the entity rows, told in the order of their offsets."""

    reached: dict[int, ProfileEvent] = field(default_factory=dict)

    def rows(self) -> tuple[bool, dict[str, tuple[Row, bool]]]:
        """Whether these are all; folded key -> columns and whether the others are empty."""
        complete, rows = False, dict[str, tuple[Row, bool]]()
        for _, one in sorted(self.reached.items()):
            pets = one.entities.get(PET, ())
            if one.deletes_profile or one.operation is Operation.UPDATE:
                complete, rows = True, {}
            if one.operation is Operation.DELETE:
                rows = {key: row for key, row in rows.items() if key not in {folded(str(pet["PetId"])) for pet in pets}}
            else:
                rows |= {folded(str(pet["PetId"])): (pet, one.operation is Operation.UPDATE) for pet in pets}
        return complete, rows


PETS = st.lists(
    st.fixed_dictionaries({"PetId": st.sampled_from("12aA")}, optional={"Name": st.sampled_from(["Rex", None])}),
    max_size=3,
).map(lambda rows: merged(rows, CATALOG[PET]))
EVENTS = st.builds(lambda operation, pets: event(operation, *pets), st.sampled_from(["NEW", "UPDATE", "DELETE"]), PETS)
# Each event with its outcome, and how many others run before it: a dead letter that is redriven, perhaps edited.
STORIES = st.lists(
    st.tuples(EVENTS, st.sampled_from([Outcome.SYNCED, Outcome.PARTIAL]), st.sampled_from([0, 0, 0, 1, 2, 5])),
    min_size=1,
    max_size=8,
)


def ran(story: list[tuple[ProfileEvent, Outcome, int]]) -> list[tuple[int, ProfileEvent, Outcome]]:
    """The events of a story in the order in which they settle."""
    order = sorted(range(len(story)), key=lambda offset: (offset + story[offset][2], story[offset][2]))
    return [(offset, story[offset][0], story[offset][1]) for offset in order]


@given(STORIES)
def test_the_list_says_what_the_events_say_in_whatever_order_they_settle(
    story: list[tuple[ProfileEvent, Outcome, int]],
) -> None:
    model, state = Model(), None
    for offset, one, outcome in ran(story):
        left = what_is_left(one, offset, state, CATALOG)
        if isinstance(left, Superseded):
            state = after_settling(state, offset, settlement(one, Outcome.SUPERSEDED, event_id=f"e{offset}"), 0)
            continue
        if one.operation is Operation.DELETE:
            outcome = Outcome.SYNCED  # it is never partial
        model.reached[offset] = one
        what = settlement(left, outcome, event_id=f"e{offset}")
        state = after_settling(state, offset, what, 0)
        assert after_settling(state, offset, what, 0).rows == state.rows, "twice is as once"
        assert ConsumerState.decode(state.encode()) == state

        complete, rows = model.rows()
        found = listed(state)
        if found is None:
            assert not any(event.is_full_state for event in model.reached.values())
            continue
        assert found.complete is complete
        pets = {folded(row.key[0]): row for row in found.rows if row.entity is PET}
        assert set(pets) == set(rows)
        for key, (row, anew) in rows.items():
            expected = event("UPDATE" if anew else "NEW", row)
            (wanted,) = [r for r in _rows_of(expected) if r.entity is PET]
            assert pets[key] == wanted


def _rows_of(one: ProfileEvent) -> tuple[ListedRow, ...]:
    found = row_list(DIGESTS.of_event(one), DIGESTS.head)
    assert found is not None
    return found.rows


def test_a_verdict_carries_the_list_as_plain_text() -> None:
    """Of a PARTIAL event that also becomes a dead letter, in the partition's record."""
    assert isinstance(json.loads(json.dumps(settlement(event("UPDATE", REX)).rows)), str)
