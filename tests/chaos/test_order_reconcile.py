"""Which calls the verdict accepts for ``reconcile`` and which it does not: histories, call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.profile.entities import CHILD_TYPES
from tests.chaos.event_calls import phases_of
from tests.chaos.events import date_of
from tests.chaos.evidence import events_of
from tests.chaos.held import Held
from tests.chaos.made_up import CATALOG, DOCUMENTS, delete_profile, evidence, numbered, pet, post, sources_of
from tests.chaos.order import Explanation, Stamped, _Explainer, explain
from tests.chaos.verdict import judge
from tests.support.simulator_probe import Call

PARENT, PET = "CMT_Consumer", "CMT_Pet"


def call(operation: str, extension: str, status: str = "ok", **row: str | None) -> Call:
    return Call(0, "", operation, extension, "ann", status, (row,) if row else ())


def look(extension: str, status: str = "ok") -> Call:
    return call("Retrieve", extension, status)


def put(mark: int, status: str = "ok") -> Call:
    """The parent's row of an event."""
    return call("Update", PARENT, status, ConsumerId="ann", UpdatedAt=f"{mark:03}")


def put_pet(key: str, name: str, status: str = "ok", **columns: str | None) -> Call:
    return call("Update", PET, status, ConsumerId="ann", PetId=key, Name=name, **columns)


def drop_pet(key: str, status: str = "ok") -> Call:
    return call("Delete", PET, status, ConsumerId="ann", PetId=key)


CHILD_LOOKUPS = [look(CATALOG[entity].customer_key) for entity in CHILD_TYPES]
# The parent's last: if it came first, it could be all that a first attempt got to.
LOOKUPS = [*CHILD_LOOKUPS, look(PARENT)]

# One pet stays as it is, one loses its species, one is new, one goes.
NEW = post("NEW", "ann", 1, pet=[*pet("p1", "a"), *pet("p2", "b"), {"PetId": "p3", "Name": "c", "Species": "cat"}])
UPDATE = post("UPDATE", "ann", 2, pet=[*pet("p1", "a"), *pet("p3", "c"), *pet("p4", "d")])
NEW_CALLS = [look(PARENT), put(1), put_pet("p1", "a"), put_pet("p2", "b"), put_pet("p3", "c", Species="cat")]
UPDATE_WRITES = [put(2), put_pet("p3", "c", Species=None), put_pet("p4", "d"), drop_pet("p2")]
LATER = post("NEW", "ann", 3)
LATER_CALLS = [look(PARENT), put(3)]


def explained(documents: Sequence[Mapping[str, Any]], *calls: Call, dead: frozenset[int] = frozenset()) -> Explanation:
    events = events_of(sources_of(documents))
    return explain(events, [Stamped(one) for one in numbered(calls)], CATALOG, "reconcile", dead)


def test_the_calls_that_freezes_made_late_do_not_multiply_what_is_tried() -> None:
    """With a freeze before each event, any of its calls may have been a late one or not."""
    events = [post("NEW", "ann", mark) for mark in range(1, 41)]
    calls = numbered([one for mark in range(1, 41) for one in (look(PARENT), put(mark))])
    phases = [phases_of(event, CATALOG, "reconcile") for event in events_of(sources_of(events))]
    explainer, most = _Explainer(phases, frozenset(), Held.nothing(CATALOG)), 0
    for number, one in enumerate(calls):
        explainer.take(Stamped(one, freeze=number // 2))
        most = max(most, len(explainer._states))
    assert most < 3 * len(events)


def all_is_well(found: Explanation) -> bool:
    return not (found.violations or found.lost)


def of_update(*calls: Call) -> Explanation:
    """The UPDATE of the consumer whose NEW went well, and one more event."""
    return explained([NEW, UPDATE, LATER], *NEW_CALLS, *calls, *LATER_CALLS)


def undisturbed(found: Explanation) -> bool:
    return all_is_well(found) and not found.repeated and not found.failed


def test_what_the_program_plans_breaks_nothing() -> None:
    verdict = judge(evidence(strategy="reconcile"), CATALOG)
    assert verdict.violations == ()
    assert (verdict.figures.events, verdict.figures.repeated_calls) == (len(DOCUMENTS), 0)


def test_new_of_a_new_consumer_looks_for_the_parent_only() -> None:
    assert undisturbed(explained([NEW], *NEW_CALLS))
    assert not all_is_well(explained([NEW], look(PARENT), look(PET), *NEW_CALLS[1:]))
    assert not all_is_well(explained([NEW], *NEW_CALLS[1:])), "it wrote before it had looked"


def test_new_of_a_known_consumer_looks_for_what_it_lists_and_writes_what_differs() -> None:
    again = post("NEW", "ann", 2, pet=[*pet("p1", "a"), *pet("p2", "other"), *pet("p3", "c")])
    writes = [put(2), put_pet("p2", "other")]
    assert undisturbed(explained([NEW, again], *NEW_CALLS, look(PARENT), look(PET), *writes))
    assert not all_is_well(explained([NEW, again], *NEW_CALLS, look(PARENT), *writes)), "it had not looked"
    for needless in (put_pet("p1", "a"), drop_pet("p1"), put_pet("p3", "c", Species=None)):
        calls = (*NEW_CALLS, look(PARENT), look(PET), *writes, needless)
        assert explained([NEW, again], *calls).violations == (numbered(calls)[-1],)


@pytest.mark.parametrize("lookups", [LOOKUPS, LOOKUPS[::-1], CHILD_LOOKUPS], ids=["in order", "reversed", "no parent"])
def test_update_writes_what_changed_what_is_new_and_deletes_what_vanished(lookups: list[Call]) -> None:
    assert undisturbed(of_update(*lookups, *UPDATE_WRITES))
    parent, changed, new, vanished = UPDATE_WRITES
    assert undisturbed(of_update(*lookups, parent, new, changed, vanished))


@pytest.mark.parametrize("left_out", range(len(UPDATE_WRITES)))
def test_a_needed_write_that_is_left_out_is_found(left_out: int) -> None:
    writes = [*UPDATE_WRITES[:left_out], *UPDATE_WRITES[left_out + 1 :]]
    assert not all_is_well(of_update(*LOOKUPS, *writes))
    assert explained([NEW, UPDATE], *NEW_CALLS, *LOOKUPS, *writes).lost == (1,)


@pytest.mark.parametrize(
    "writes",
    [
        [put(2), put_pet("p1", "a"), *UPDATE_WRITES[1:]],
        [put(2), put_pet("p3", "c"), *UPDATE_WRITES[1:]],
        [*UPDATE_WRITES, put_pet("p4", "e")],
        [*UPDATE_WRITES, put_pet("p5", "d")],
        [*UPDATE_WRITES, drop_pet("p1")],
        [*UPDATE_WRITES, call("Update", "CMT_Child", ConsumerId="ann", ChildId="p4")],
    ],
    ids=["right already", "without the null", "other value", "other row", "delete of a wanted row", "other entity"],
)
def test_a_write_that_is_not_the_events_own_or_not_needed_is_a_violation(writes: list[Call]) -> None:
    found = of_update(*LOOKUPS, *writes)
    assert (len(found.violations), found.lost) == (1, ())


@pytest.mark.parametrize("stale", [put(1), put_pet("p2", "b"), put_pet("p3", "c", Species="cat")])
@pytest.mark.parametrize("place", [1, len(UPDATE_WRITES)])
def test_a_write_of_an_older_event_is_a_violation(stale: Call, place: int) -> None:
    found = of_update(*LOOKUPS, *UPDATE_WRITES[:place], stale, *UPDATE_WRITES[place:])
    assert [(one.data_extension, one.rows) for one in found.violations] == [(stale.data_extension, stale.rows)]


@pytest.mark.parametrize("first", [1, 2, 3], ids=["changed row", "new row", "delete"])
def test_nothing_comes_before_the_parent(first: int) -> None:
    parent, *others = UPDATE_WRITES
    early = others.pop(first - 1)
    assert not all_is_well(of_update(*LOOKUPS, early, parent, *others))


def test_nothing_is_deleted_before_the_other_rows_are_written() -> None:
    parent, changed, new, vanished = UPDATE_WRITES
    assert not all_is_well(of_update(*LOOKUPS, parent, vanished, changed, new))


@pytest.mark.parametrize("missing", range(len(CHILD_LOOKUPS)))
def test_nothing_is_written_before_all_lookups_have_answered(missing: int) -> None:
    before = [*LOOKUPS[:missing], *LOOKUPS[missing + 1 :]]
    assert not all_is_well(of_update(*before, *UPDATE_WRITES))
    late = LOOKUPS[missing]
    assert not all_is_well(of_update(*before, UPDATE_WRITES[0], late, *UPDATE_WRITES[1:]))
    failed = look(late.data_extension, "fault")
    assert not all_is_well(of_update(*before, failed, *UPDATE_WRITES))


def test_a_parent_that_was_not_looked_up_is_written_whatever_it_is() -> None:
    same_parent = [*NEW_CALLS, *LOOKUPS, *UPDATE_WRITES, *CHILD_LOOKUPS]
    assert all_is_well(explained([NEW, UPDATE], *same_parent, put(2)))
    assert explained([NEW, UPDATE], *NEW_CALLS, *CHILD_LOOKUPS, *UPDATE_WRITES[1:]).violations
    looked_up = [*NEW_CALLS, *LOOKUPS, *UPDATE_WRITES, *LOOKUPS]
    assert len(explained([NEW, UPDATE], *looked_up, put(2)).violations) == 1


@pytest.mark.parametrize("made", range(1, len(UPDATE_WRITES) + 1))
def test_an_update_that_is_begun_again_writes_what_is_still_missing(made: int) -> None:
    first = [*LOOKUPS, *UPDATE_WRITES[:made]]
    found = of_update(*first, *LOOKUPS, *UPDATE_WRITES[made:])
    assert all_is_well(found)
    assert (found.repeated, found.again) == (len(first), frozenset({1}))
    assert not all_is_well(of_update(*first, *LOOKUPS, *UPDATE_WRITES)), "it wrote again what was right already"


def test_lookups_go_out_together_and_one_that_fails_comes_again_among_the_others() -> None:
    first, second, *others = LOOKUPS
    broken = look(first.data_extension, "dropped")
    assert undisturbed(of_update(broken, second, *others[:2], broken, *others[2:], first, *UPDATE_WRITES))


def test_an_attempt_that_fails_at_a_lookup_or_at_the_parent_is_begun_again() -> None:
    failed = [look(PARENT, "fault"), *CHILD_LOOKUPS]
    assert all_is_well(of_update(*failed, *LOOKUPS, *UPDATE_WRITES))
    refused = [*LOOKUPS, put(2, "error")]
    assert all_is_well(of_update(*refused, *LOOKUPS, *UPDATE_WRITES))
    # It may have been written all the same.
    assert all_is_well(of_update(*refused, *LOOKUPS, *UPDATE_WRITES[1:]))
    assert not all_is_well(of_update(*refused, *UPDATE_WRITES[1:])), "it went on though the parent had failed"
    assert undisturbed(of_update(*refused, *UPDATE_WRITES)), "the same call again, at once"


def test_a_child_that_fails_leaves_the_event_partial_and_the_row_in_doubt() -> None:
    writes = [put(2), UPDATE_WRITES[1], put_pet("p4", "d", "error"), drop_pet("p2")]
    found = of_update(*LOOKUPS, *writes)
    assert all_is_well(found)
    assert found.failed == {1}
    later = post("NEW", "ann", 3, pet=pet("p4", "d"))
    for needed in ([], [put_pet("p4", "d")]):
        calls = [*LOOKUPS, *writes, look(PARENT), look(PET), put(3), *needed]
        assert all_is_well(explained([NEW, UPDATE, later], *NEW_CALLS, *calls))


def test_an_event_whose_parent_fails_for_good_has_a_dead_letter_or_is_lost() -> None:
    calls = [*NEW_CALLS, *LOOKUPS, put(2, "error"), *LATER_CALLS]
    assert not all_is_well(explained([NEW, UPDATE, LATER], *calls))
    assert all_is_well(explained([NEW, UPDATE, LATER], *calls, dead=frozenset({1})))


def test_a_row_whose_key_may_be_another_spelling_of_a_wanted_one_goes_first() -> None:
    respelled = post("UPDATE", "ann", 2, pet=pet(" p1", "a"))
    held = post("NEW", "ann", 1, pet=pet("p1", "a"))
    before = [look(PARENT), put(1), put_pet("p1", "a"), *LOOKUPS]
    writes = [put(2), put_pet(" p1", "a")]
    assert undisturbed(explained([held, respelled], *before, drop_pet("p1"), *writes))
    assert not all_is_well(explained([held, respelled], *before, *writes, drop_pet("p1")))


def test_delete_of_the_profile_takes_every_row_and_the_parent_last() -> None:
    gone = [call("Delete", PARENT, ConsumerId="ann")]
    pets = [drop_pet("p1"), drop_pet("p2"), drop_pet("p3")]
    documents = [NEW, delete_profile("ann", 2)]
    assert undisturbed(explained(documents, *NEW_CALLS, *LOOKUPS, *pets, *gone))
    assert not all_is_well(explained(documents, *NEW_CALLS, *LOOKUPS, *pets[1:], *gone))
    assert not all_is_well(explained(documents, *NEW_CALLS, *LOOKUPS, *pets, drop_pet("p4"), *gone))
    assert not all_is_well(explained(documents, *NEW_CALLS, *LOOKUPS, drop_pet("p1", "fault"), *pets[1:], *gone))


# While a worker does not know the types of columns, a time with an offset differs from what is returned for it.

OPT_IN = "CMT_OptIn"


def dated(operation: str, mark: int, **entities: Any) -> dict[str, Any]:
    """An event whose parent carries its mark as a date."""
    document = post(operation, "ann", mark, **entities)
    document["consumer"]["UpdatedAt"] = date_of(mark)
    return document


def put_dated(mark: int, status: str = "ok") -> Call:
    return call("Update", PARENT, status, ConsumerId="ann", UpdatedAt=date_of(mark))


def opt_in(key: str, mark: int) -> dict[str, str]:
    return {"OptInId": key, "CapturedAt": date_of(mark)}


def put_opt_in(key: str, mark: int) -> Call:
    return call("Update", OPT_IN, ConsumerId="ann", OptInId=key, CapturedAt=date_of(mark))


DATED = [
    dated("NEW", 1, optIn=[opt_in("o1", 1)]),
    dated("UPDATE", 2, optIn=[opt_in("o1", 1), opt_in("o2", 2)], pet=pet("p1", "a")),
    dated("NEW", 3),
]
DATED_NEW = [look(PARENT), put_dated(1), put_opt_in("o1", 1)]
DATED_UPDATE = [put_dated(2), put_pet("p1", "a"), put_opt_in("o2", 2)]
DATED_LATER = [look(PARENT), put_dated(3)]


def of_dated(*calls: Call) -> Explanation:
    return explained(DATED, *DATED_NEW, *calls, *DATED_LATER)


def test_a_date_that_is_held_may_be_written_again_by_the_event_that_runs() -> None:
    assert undisturbed(of_dated(*LOOKUPS, *DATED_UPDATE))
    kept = of_dated(*LOOKUPS, *DATED_UPDATE, put_opt_in("o1", 1))
    assert undisturbed(kept)
    assert (kept.equal, of_dated(*LOOKUPS, *DATED_UPDATE).equal) == (1, 0)
    parent, *others = DATED_UPDATE
    again = of_dated(*LOOKUPS, parent, *LOOKUPS, parent, *others)
    assert all_is_well(again), "it was begun again by a worker that does not know the types"
    assert (again.equal, again.again) == (1, frozenset({1}))


def test_a_text_that_is_held_is_not_written_again() -> None:
    assert len(of_dated(*LOOKUPS, *DATED_UPDATE, *LOOKUPS, put_pet("p1", "a")).violations) == 1


@pytest.mark.parametrize("place", [1, len(DATED_UPDATE)])
def test_an_older_date_after_a_newer_one_is_a_violation(place: int) -> None:
    found = of_dated(*LOOKUPS, *DATED_UPDATE[:place], put_dated(1), *DATED_UPDATE[place:])
    assert [one.rows for one in found.violations] == [put_dated(1).rows]


def test_an_older_date_that_another_event_lists_is_a_violation_once_a_newer_one_is_written() -> None:
    newer = dated("NEW", 3, optIn=[opt_in("o1", 3)])
    writes = [look(PARENT), look(OPT_IN), put_dated(3), put_opt_in("o1", 3)]
    calls = [*DATED_NEW, *LOOKUPS, *DATED_UPDATE, *writes]
    documents = [*DATED[:2], newer]
    assert undisturbed(explained(documents, *calls))
    assert len(explained(documents, *calls, put_opt_in("o1", 1)).violations) == 1
    assert len(explained(documents, *calls[:-1], put_opt_in("o1", 1), calls[-1]).violations) == 1


def test_an_equal_date_of_an_event_that_is_over_is_a_violation() -> None:
    # The next event has begun, though it has written nothing yet.
    found = explained(DATED, *DATED_NEW, *LOOKUPS, *DATED_UPDATE, look(PARENT), put_dated(2), put_dated(3))
    assert [one.rows for one in found.violations] == [put_dated(2).rows]


def test_an_equal_date_is_written_in_its_turn_only() -> None:
    assert len(of_dated(*LOOKUPS, *DATED_UPDATE, put_dated(2)).violations) == 1, "the parent comes first"
    assert len(of_dated(*LOOKUPS, put_opt_in("o1", 1), *DATED_UPDATE).violations) == 1
