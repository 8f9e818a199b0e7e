"""The verdict finds every violation: made-up evidence, with one thing broken at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.profile.entities import EntityType
from tests.chaos.blows import Done
from tests.chaos.event_calls import identity
from tests.chaos.evidence import Answers, Evidence
from tests.chaos.made_up import (
    BEGAN,
    CALL_SECONDS,
    CATALOG,
    DOCUMENTS,
    calls_of,
    delete_profile,
    evidence,
    numbered,
    pet,
    post,
    sources_of,
)
from tests.chaos.schedule import Act, Blow, Deed
from tests.chaos.verdict import Verdict, judge
from tests.support.simulator_probe import Call

GOOD = evidence()


def kinds(seen: Evidence) -> set[str]:
    return {violation.what for violation in judge(seen, CATALOG).violations}


def with_calls(change: Callable[[list[Call]], list[Call]], seen: Evidence = GOOD) -> Evidence:
    return replace(seen, calls=numbered(change(list(seen.calls))))


def with_answers(**changed: Any) -> Evidence:
    return replace(GOOD, answers={**GOOD.answers, 1: replace(GOOD.answers[0], **changed)})


def with_total(**changed: int) -> Evidence:
    return with_answers(totals={**GOOD.answers[0].totals, **changed})


def calls_by(consumer: str, mark: int, documents: Any = DOCUMENTS) -> list[Call]:
    """The calls of one event, as they stand in the journal of the undisturbed run."""
    sources = sources_of(documents)
    [number] = [n for n, source in enumerate(sources) if source.event_id == f"{consumer}-{mark}"]
    before = len(calls_of(sources[:number]))
    return calls_of(sources[: number + 1])[before:]


def same(call: Call) -> tuple[object, ...]:
    return identity(call), call.consumer_id


def place_of(calls: list[Call], wanted: Call) -> int:
    return [same(call) for call in calls].index(same(wanted))


def test_a_run_in_which_all_is_well_breaks_nothing() -> None:
    verdict = judge(GOOD, CATALOG)
    assert verdict.violations == ()
    figures = verdict.figures
    assert (figures.events, figures.lost, figures.order, figures.late, figures.count_error) == (8, 0, 0, 0, 0)
    assert (figures.repeated_calls, figures.repeated_events, figures.rows_checked) == (0, 0, 2)


def test_an_event_without_its_calls_is_lost() -> None:
    [last] = calls_by("ann", 5)
    assert kinds(with_calls(lambda calls: [call for call in calls if same(call) != same(last)])) == {"lost"}


def test_an_event_in_the_middle_without_its_calls_is_found() -> None:
    skipped = {same(call) for call in calls_by("bob", 2)}
    verdict = judge(with_calls(lambda calls: [call for call in calls if same(call) not in skipped]), CATALOG)
    assert verdict.figures.order or verdict.figures.lost


def test_an_event_that_was_broken_off_is_lost() -> None:
    def without_child(calls: list[Call]) -> list[Call]:
        del calls[place_of(calls, calls_by("bob", 2)[1])]
        return calls

    verdict = judge(with_calls(without_child), CATALOG)
    assert verdict.figures.order, "the next event began though this one was not complete"


def test_a_record_that_was_not_published_or_is_there_twice_is_noticed() -> None:
    assert "lost" in kinds(replace(GOOD, published=GOOD.published[1:]))
    assert "lost" in kinds(replace(GOOD, published=[*GOOD.published, GOOD.published[0]]))


def test_an_invalid_event_without_a_dead_letter_is_lost() -> None:
    assert kinds(replace(GOOD, dead_letters=[])) == {"lost", "count"}


def test_an_older_event_after_a_newer_one_is_a_violation_of_order() -> None:
    def older_last(calls: list[Call]) -> list[Call]:
        return [*calls, *calls_by("ann", 1)]

    verdict = judge(with_calls(older_last), CATALOG)
    assert {violation.what for violation in verdict.violations} == {"order"}
    assert verdict.figures.order == 2


def test_a_stale_call_within_a_newer_event_is_a_violation_of_order() -> None:
    def amid(calls: list[Call]) -> list[Call]:
        calls.insert(place_of(calls, calls_by("ann", 2)[-1]), calls_by("ann", 1)[0])
        return calls

    assert kinds(with_calls(amid)) == {"order"}


@pytest.mark.parametrize("stale", [0, 6], ids=["lookup", "delete"])
def test_a_stale_call_between_two_newer_ones_is_a_violation_of_order(stale: int) -> None:
    def amid(calls: list[Call]) -> list[Call]:
        calls.insert(place_of(calls, calls_by("ann", 2)[-1]), calls_by("ann", 2)[stale])
        return calls

    verdict = judge(with_calls(amid), CATALOG)
    assert {violation.what for violation in verdict.violations} == {"order"}
    assert verdict.figures.order == 1


def test_a_call_for_an_unknown_consumer_is_noticed() -> None:
    assert kinds(with_calls(lambda calls: [*calls, replace(calls[0], consumer_id="carl")])) == {"order"}


@pytest.mark.parametrize("made", [1, 3, 8])
def test_an_event_that_is_begun_again_is_repeated_and_nothing_else(made: int) -> None:
    def again(calls: list[Call]) -> list[Call]:
        update = calls_by("ann", 2)
        at = place_of(calls, update[0])
        # The second attempt no longer finds the rows that the first one deleted.
        gone = {same(call) for call in update[:made] if call.operation == "Delete"}
        return [*calls[:at], *update[:made], *(call for call in calls[at:] if same(call) not in gone)]

    verdict = judge(with_calls(again), CATALOG)
    assert verdict.violations == ()
    assert (verdict.figures.repeated_calls, verdict.figures.repeated_events) == (made, 1)


def frozen(until: float) -> list[Done]:
    """A freeze that ended so many seconds into the run."""
    return [
        Done(Act(0.0, Deed.FREEZE, 0, Blow.STOP), BEGAN - 10.0, frozenset({0})),
        Done(Act(10.0, Deed.THAW, 0), BEGAN + until),
    ]


def late_call(calls: list[Call]) -> list[Call]:
    return [*calls, calls_by("ann", 1)[0]]


def test_one_call_of_a_worker_that_was_frozen_is_excepted_and_counted() -> None:
    length = len(GOOD.calls) * CALL_SECONDS
    verdict = judge(replace(with_calls(late_call), done=frozen(length - 0.5)), CATALOG)
    assert verdict.violations == ()
    assert (verdict.figures.late, verdict.figures.repeated_calls, verdict.figures.rows_checked) == (1, 0, 1)


def test_a_call_long_after_the_thaw_or_a_second_one_is_a_violation() -> None:
    length = len(GOOD.calls) * CALL_SECONDS
    assert kinds(replace(with_calls(late_call), done=frozen(length - 9.0))) == {"order"}
    twice = with_calls(lambda calls: late_call(late_call(calls)))
    verdict = judge(replace(twice, done=frozen(length - 0.5)), CATALOG)
    assert (verdict.figures.late, verdict.figures.order) == (1, 1)


def dropped(until: float) -> list[Done]:
    """Packets to the CMT were dropped until so many seconds into the run."""
    return [
        Done(Act(0.0, Deed.TAKE, None, Blow.CMT_DROPPED, what=Blow.CMT_DROPPED), BEGAN - 10.0),
        Done(Act(10.0, Deed.GIVE, what=Blow.CMT_DROPPED), BEGAN + until),
    ]


def stray_lookups(calls: list[Call]) -> list[Call]:
    """Those of an attempt that was given up, answered when the next event has been worked on."""
    return [*calls, *(call for call in calls_by("ann", 2) if call.operation == "Retrieve")]


def test_lookups_that_were_given_up_when_packets_were_dropped_may_still_come() -> None:
    length = len(GOOD.calls) * CALL_SECONDS
    verdict = judge(replace(with_calls(stray_lookups), done=dropped(length - 0.5)), CATALOG)
    assert verdict.violations == ()
    assert verdict.figures.rows_checked == 2


def test_writes_that_were_given_up_and_lookups_long_after_are_violations_all_the_same() -> None:
    length = len(GOOD.calls) * CALL_SECONDS
    assert kinds(replace(with_calls(late_call), done=dropped(length - 0.5))) == {"order"}
    assert "order" in kinds(replace(with_calls(stray_lookups), done=dropped(length - 19.0)))
    assert "order" in kinds(with_calls(stray_lookups))


def test_late_calls_of_two_consumers_after_one_freeze_are_a_violation_of_order() -> None:
    length = len(GOOD.calls) * CALL_SECONDS
    both = with_calls(lambda calls: [*late_call(calls), calls_by("bob", 1)[0]])
    verdict = judge(replace(both, done=frozen(length - 0.5)), CATALOG)
    assert (verdict.figures.late, verdict.figures.order) == (2, 1)


@pytest.mark.parametrize(
    "changed", [{"events": 9}, {"events": 7, "synced": 6}, {"synced": 8}, {"parked": 1}, {"invalid": 0, "failed": 1}]
)
def test_wrong_totals_of_any_worker_are_a_count_error(changed: dict[str, int]) -> None:
    assert kinds(with_total(**changed)) == {"count"}


def test_events_that_a_redrive_alone_may_cause_are_a_count_error() -> None:
    assert kinds(with_total(synced=6, superseded=1)) == {"count"}


def moved(answers: Answers, name: str, column: str, by: int) -> list[dict[str, Any]]:
    first, *others = (dict(row) for row in getattr(answers, name))
    return [{**first, column: first[column] + by}, *others]


@pytest.mark.parametrize(
    ("name", "column"),
    [("daily", "synced"), ("records", "synced"), ("records", "failed"), ("failures", "count")],
)
def test_a_wrong_number_in_a_table_is_a_count_error(name: str, column: str) -> None:
    assert kinds(with_answers(**{name: moved(GOOD.answers[0], name, column, 1)})) == {"count"}


def test_a_failure_without_a_cause_is_a_count_error() -> None:
    row = {
        "day": "2026-11-21",
        "market": "DE",
        "entity": "pet",
        "operation": "NEW",
        "reason": "CMT-TIMEOUT",
        "count": 1,
    }
    assert kinds(with_answers(failures=[*GOOD.answers[0].failures, row])) == {"count"}


def test_no_answer_at_all_is_a_count_error() -> None:
    assert kinds(replace(GOOD, answers={})) == {"count"}


def test_fewer_records_are_right_only_of_a_profile_delete_that_was_begun_again() -> None:
    fewer = [
        row | ({"synced": row["synced"] - 1} if (row["entity"], row["operation"]) == ("pet", "DELETE") else {})
        for row in (dict(row) for row in GOOD.answers[0].records)
    ]
    answers = {0: replace(GOOD.answers[0], records=fewer)}
    assert kinds(replace(GOOD, answers=answers)) == {"count"}

    def again(calls: list[Call]) -> list[Call]:
        gone = calls_by("bob", 3)
        at = place_of(calls, gone[0])
        # The first attempt deleted the pet; the second did not find it any more.
        return [*calls[:at], *gone[:-1], *(call for call in calls[at:] if same(call) != same(gone[-2]))]

    assert kinds(replace(with_calls(again), answers=answers)) == set()


def test_of_two_profile_deletes_in_a_row_either_may_have_been_begun_again() -> None:
    documents = (post("NEW", "ann", 1, pet=pet("p1", "a")), delete_profile("ann", 2), delete_profile("ann", 3))
    seen = evidence(documents)
    empty = calls_by("ann", 3, documents)
    fewer = [
        row | ({"synced": 0} if (row["entity"], row["operation"]) == ("pet", "DELETE") else {})
        for row in (dict(row) for row in seen.answers[0].records)
    ]
    again = with_calls(lambda calls: [*calls, *empty], seen)
    assert judge(again, CATALOG).violations == ()
    assert judge(replace(again, answers={0: replace(seen.answers[0], records=fewer)}), CATALOG).violations == ()


@pytest.mark.parametrize("change", ["older", "gone", "left over"])
def test_rows_that_are_not_the_last_state_are_noticed(change: str) -> None:
    rows = {entity: dict(table) for entity, table in GOOD.rows.items()}
    parents = rows[EntityType.CONSUMER]
    match change:
        case "older":
            parents["ann",] = {**parents["ann",], "UpdatedAt": "001"}
        case "gone":
            del parents["ann",]
        case _:
            rows[EntityType.PET]["bob", "p1"] = {"ConsumerId": "bob", "PetId": "p1", "Name": "c"}
    assert kinds(replace(GOOD, rows=rows)) == {"rows"}


def test_rows_of_a_consumer_with_a_dead_letter_are_still_those_of_its_calls() -> None:
    failed = failing_evidence(2, ["fault"] * 3, dead=True)
    rows = {entity: dict(table) for entity, table in failed.rows.items()}
    rows[EntityType.PET]["bob", "p7"] = {"ConsumerId": "bob", "PetId": "p7", "Name": "nobody's"}
    assert kinds(replace(failed, rows=rows)) == {"rows"}


def test_offsets_that_are_not_committed_are_noticed() -> None:
    assert kinds(replace(GOOD, lags={"profiles.retry": {2: (3, 4)}})) == {"offsets"}


def test_dead_letters_may_be_repeated_but_belong_to_an_event_and_hold_its_bytes() -> None:
    [letter] = GOOD.dead_letters
    verdict = judge(replace(GOOD, dead_letters=[letter, letter]), CATALOG)
    assert (verdict.violations, verdict.figures.repeated_dead_letters) == ((), 1)
    assert kinds(replace(GOOD, dead_letters=[replace(letter, value=b"other")])) == {"dead letter"}
    assert "dead letter" in kinds(replace(GOOD, dead_letters=[letter, replace(letter, source=(9, 9))]))
    healthy = GOOD.sources[0]
    needless = replace(letter, source=healthy.position, key=healthy.key, value=healthy.value)
    assert "dead letter" in kinds(replace(GOOD, dead_letters=[letter, needless]))


@pytest.mark.parametrize("change", ["parked", "unknown", "swapped", "missing", "outcome"])
def test_a_wrong_consumer_record_is_noticed(change: str) -> None:
    view = dict(GOOD.consumers["ann"] or {})
    newest, second, *older = view["recent"]
    changed: dict[str, Any] | None = {
        "parked": view | {"parked": [{"id": "0-1"}]},
        "unknown": None,
        "swapped": view | {"recent": [second, newest, *older]},
        "missing": view | {"recent": [second, *older]},
        "outcome": view | {"recent": [newest | {"outcome": "failed"}, second, *older]},
    }[change]
    assert kinds(replace(GOOD, consumers={**GOOD.consumers, "ann": changed})) == {"consumer"}


def test_remarks_during_the_run_count() -> None:
    assert kinds(replace(GOOD, remarks=["worker 1 ended by itself"])) == {"worker"}


def failing(mark: int, statuses: list[str], *, dead: bool) -> Verdict:
    return judge(failing_evidence(mark, statuses, dead=dead), CATALOG)


def failing_evidence(mark: int, statuses: list[str], *, dead: bool) -> Evidence:
    """A run with faults: the posts of bob's event fail like this, one after another, before all goes well or ends."""
    [call] = calls_by("bob", mark)[:1]
    at = place_of(list(GOOD.calls), call)
    tried = [replace(call, status=status) for status in statuses]
    own = len(calls_by("bob", mark))
    calls = [*GOOD.calls[:at], *tried, *GOOD.calls[at + (own if dead else 0) :]]
    if dead:  # its pet was never posted
        calls = [
            call
            for call in calls
            if (call.operation, call.consumer_id) != ("Delete", "bob") or "Consumer" in call.data_extension
        ]
    source = next(source for source in GOOD.sources if source.event_id == f"bob-{mark}")
    letters = list(GOOD.dead_letters)
    answers = GOOD.answers[0]
    consumers = dict(GOOD.consumers)
    if dead:  # his profile was deleted later, so it counts as superseded
        letters.append(replace(letters[0], source=source.position, key=source.key, value=source.value))
        counts = {"synced": 6, "superseded": 1}
        daily = [{**row, **counts} for row in answers.daily]
        answers = replace(answers, totals={**answers.totals, **counts}, daily=daily)
        view = dict(consumers["bob"] or {})
        view["recent"] = [
            entry | {"outcome": "superseded"} if entry["eventId"] == f"bob-{mark}" else entry
            for entry in view["recent"]
        ]
        consumers["bob"] = view
    return replace(
        GOOD,
        with_faults=True,
        calls=numbered(calls),
        dead_letters=letters,
        answers={0: answers},
        consumers=consumers,
    )


def test_a_call_that_fails_may_come_again_at_once_or_with_the_whole_event() -> None:
    assert failing(2, ["fault", "dropped", "fault"], dead=False).violations == ()


def test_an_event_that_failed_for_good_lets_the_next_one_run_and_its_consumers_rows_are_not_judged() -> None:
    verdict = failing(2, ["fault"] * 3, dead=True)
    assert verdict.violations == ()
    assert verdict.figures.rows_checked == 1


def test_an_event_that_was_given_up_before_any_call_is_not_lost() -> None:
    assert failing(2, [], dead=True).violations == ()


def test_a_dead_letter_that_was_not_closed_when_the_profile_was_deleted_is_noticed() -> None:
    evidence = failing_evidence(2, ["fault"] * 3, dead=True)
    answers = evidence.answers[0]
    still_failed = {"failed": 1, "superseded": 0}
    daily = [{**row, **still_failed} for row in answers.daily]
    wrong = replace(answers, totals={**answers.totals, **still_failed}, daily=daily)
    assert kinds(replace(evidence, answers={0: wrong})) == {"count"}
