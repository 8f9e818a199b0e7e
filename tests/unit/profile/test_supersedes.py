"""What a settled later event leaves of an older one: every line of the table, and what the record remembers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.delivery.consumer_record import ConsumerState, DeletedRow, FullState
from app.delivery.counts import Settlement
from app.delivery.outcome import Outcome
from app.profile.consumer_history import DELETED_KEPT, after_settling
from app.profile.entities import Catalog, EntityType
from app.profile.event import ProfileEvent
from app.profile.event_reader import check_document
from app.profile.holdings.row_digests import Digests
from app.profile.supersedes import Superseded, deleted_rows, what_is_left

BEFORE, AT, AFTER = 4, 5, 6  # full states or deletions, as seen from the event at offset 5
PETS = {"pet": [{"PetId": "p1"}, {"PetId": "p2"}], "optIn": [{"OptInId": "p1"}]}


def event(catalog: Catalog, operation: str, scope: str | None = None) -> ProfileEvent:
    document: dict[str, Any] = {
        "eventId": "e5",
        "operation": operation,
        "consumerId": "c1",
        "market": "DE",
        "occurredAt": "2026-11-21T10:00:00Z",
    }
    if operation != "DELETE":
        document |= {"consumer": {"ConsumerId": "c1"}, "entities": PETS}
    elif scope == "ENTITIES":
        document |= {"deleteScope": scope, "entities": PETS}
    return check_document(document, catalog, "e5")


def full(offset: int) -> FullState:
    return FullState(offset, "UPDATE", f"e{offset}")


def gone(offset: int, key: str = "p1") -> DeletedRow:
    return DeletedRow(offset, "pet", (key,))


EVERY_EVENT = [("NEW", None), ("UPDATE", None), ("DELETE", "PROFILE"), ("DELETE", "ENTITIES")]


@pytest.mark.parametrize(("operation", "scope"), EVERY_EVENT)
def test_a_later_full_state_supersedes_everything(catalog: Catalog, operation: str, scope: str | None) -> None:
    left = what_is_left(event(catalog, operation, scope), 5, ConsumerState(9, "DE", full=full(AFTER)), catalog)
    assert left == Superseded("a later UPDATE (event e6) has been written")


@pytest.mark.parametrize(("operation", "scope"), EVERY_EVENT)
@pytest.mark.parametrize(
    "state",
    [
        None,
        ConsumerState(3, "DE"),
        ConsumerState(9, "DE", full=full(BEFORE)),
        ConsumerState(9, "DE", full=full(AT)),
        ConsumerState(9, "DE", full=full(BEFORE), deleted=(gone(BEFORE), gone(AT, "p2")), deleted_forgotten=AT),
    ],
)
def test_nothing_later_leaves_an_event_as_it_is(
    catalog: Catalog, operation: str, scope: str | None, state: ConsumerState | None
) -> None:
    before = event(catalog, operation, scope)
    assert what_is_left(before, 5, state, catalog) == before


@pytest.mark.parametrize("operation", ["NEW", "UPDATE"])
@pytest.mark.parametrize("newest", [None, full(BEFORE), full(AT)])
def test_rows_deleted_since_are_left_out_and_no_others(
    catalog: Catalog, operation: str, newest: FullState | None
) -> None:
    state = ConsumerState(9, "DE", full=newest, deleted=(gone(AFTER),))
    left = what_is_left(event(catalog, operation), 5, state, catalog)
    assert isinstance(left, ProfileEvent)
    assert {entity: [dict(row) for row in rows] for entity, rows in left.entities.items()} == {
        EntityType.PET: [{"PetId": "p2"}],
        EntityType.OPT_IN: [{"OptInId": "p1"}],
    }
    assert left.consumer == {"ConsumerId": "c1"}


def test_an_entity_without_rows_left_is_not_named_any_more(catalog: Catalog) -> None:
    state = ConsumerState(9, "DE", deleted=(gone(AFTER), gone(AFTER, "p2")))
    left = what_is_left(event(catalog, "UPDATE"), 5, state, catalog)
    assert isinstance(left, ProfileEvent)
    assert set(left.entities) == {EntityType.OPT_IN}


@pytest.mark.parametrize("operation", ["NEW", "UPDATE"])
def test_an_event_is_not_sent_when_the_rows_deleted_since_are_not_all_remembered(
    catalog: Catalog, operation: str
) -> None:
    state = ConsumerState(9, "DE", deleted=(gone(9),), deleted_forgotten=AFTER)
    left = what_is_left(event(catalog, operation), 5, state, catalog)
    assert isinstance(left, Superseded)
    assert "more rows than are remembered" in left.message


@pytest.mark.parametrize("scope", ["PROFILE", "ENTITIES"])
def test_a_delete_runs_whatever_rows_were_deleted_since(catalog: Catalog, scope: str) -> None:
    before = event(catalog, "DELETE", scope)
    state = ConsumerState(9, "DE", deleted=(gone(AFTER),), deleted_forgotten=AFTER)
    assert what_is_left(before, 5, state, catalog) == before


# What the consumer's record remembers


def settled(catalog: Catalog, what: ProfileEvent, outcome: Outcome = Outcome.SYNCED, event_id: str = "e") -> Settlement:
    return Settlement(
        "c1",
        event_id,
        what.operation.value,
        "DE",
        "2026-11-21",
        outcome,
        full_state=what.is_full_state,
        deleted=deleted_rows(what, catalog),
    )


def test_a_delete_of_rows_is_remembered_until_a_full_state_settles(catalog: Catalog) -> None:
    deletion, update = event(catalog, "DELETE", "ENTITIES"), event(catalog, "UPDATE")
    state = after_settling(None, 7, settled(catalog, deletion), 0)
    assert {(row.offset, row.entity, row.key) for row in state.deleted} == {
        (7, "pet", ("p1",)),
        (7, "pet", ("p2",)),
        (7, "optIn", ("p1",)),
    }
    assert isinstance(what_is_left(update, 5, state, catalog), ProfileEvent)
    assert after_settling(state, 8, settled(catalog, update), 0).deleted == ()


def test_rows_deleted_in_another_place_play_no_part(catalog: Catalog) -> None:
    """Markets may have accounts and data extensions of their own, and a consumer may be in several."""
    elsewhere = replace(catalog, account_id="510001234")
    deletion, update = event(catalog, "DELETE", "ENTITIES"), event(catalog, "UPDATE")
    settlement = replace(settled(catalog, deletion), rows=Digests(elsewhere).of_event(deletion))
    state = ConsumerState.decode(after_settling(None, 7, settlement, 0).encode())
    assert what_is_left(update, 5, state, catalog) == update
    left = what_is_left(update, 5, state, elsewhere)
    assert isinstance(left, ProfileEvent) and left.entities == {}
    # Of one place and another, at the same key.
    both = after_settling(state, 8, replace(settlement, rows=Digests(catalog).of_event(deletion)), 0)
    assert {row.offset for row in both.deleted} == {7, 8}


def test_a_record_that_does_not_say_where_rows_were_deleted_means_everywhere(catalog: Catalog) -> None:
    state = ConsumerState(9, "DE", deleted=(gone(AFTER), gone(AFTER, "p2")))
    assert {row.place for row in state.deleted} == {""}
    left = what_is_left(event(catalog, "UPDATE"), 5, state, catalog)
    assert isinstance(left, ProfileEvent) and EntityType.PET not in left.entities


def test_a_redriven_full_state_forgets_only_what_was_deleted_before_it(catalog: Catalog) -> None:
    deletion, update = event(catalog, "DELETE", "ENTITIES"), event(catalog, "UPDATE")
    state = after_settling(None, 3, settled(catalog, deletion, event_id="early"), 0)
    state = after_settling(state, 7, settled(catalog, deletion, event_id="late"), 0)
    again = after_settling(state, 5, settled(catalog, update), 0)
    assert {row.offset for row in again.deleted} == {7}


def test_a_delete_that_failed_is_not_remembered(catalog: Catalog) -> None:
    deletion = event(catalog, "DELETE", "ENTITIES")
    assert after_settling(None, 7, settled(catalog, deletion, Outcome.FAILED), 0).deleted == ()


def test_the_oldest_deleted_rows_are_forgotten_first_and_the_record_says_up_to_where(catalog: Catalog) -> None:
    state: ConsumerState | None = None
    for offset in range(DELETED_KEPT + 3):
        one = Settlement("c1", f"e{offset}", "DELETE", "DE", "-", Outcome.SYNCED, deleted=(("pet", (f"p{offset}",)),))
        state = after_settling(state, offset, one, 0)
    assert state is not None
    assert (len(state.deleted), state.deleted[0].offset, state.deleted_forgotten) == (DELETED_KEPT, 3, 2)
    full_state = Settlement("c1", "full", "UPDATE", "DE", "-", Outcome.SYNCED, full_state=True)
    after = after_settling(state, DELETED_KEPT + 3, full_state, 0)
    assert (after.deleted, after.deleted_forgotten) == ((), -1)


def test_long_keys_are_forgotten_earlier_so_that_the_record_stays_small(catalog: Catalog) -> None:
    state: ConsumerState | None = None
    for offset in range(9):
        rows = (("pet", (f"{offset}" * 10_000,)),)
        state = after_settling(
            state, offset, Settlement("c1", "e", "DELETE", "DE", "-", Outcome.SYNCED, deleted=rows), 0
        )
    assert state is not None
    assert [row.offset for row in state.deleted] == [5, 6, 7, 8]
    assert state.deleted_forgotten == 4


def test_the_record_survives_being_written_and_read(catalog: Catalog) -> None:
    state = after_settling(None, 7, settled(catalog, event(catalog, "DELETE", "ENTITIES")), 0)
    assert ConsumerState.decode(state.encode()) == state
