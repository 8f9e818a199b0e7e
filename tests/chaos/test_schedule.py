"""The schedule and the events are functions of the seed, and the schedule can be carried out."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.event import InvalidEvent, read_event
from app.domain.record import SourceRecord
from app.simulator.faults import FaultRule, Kind
from tests.chaos.__main__ import plan_of
from tests.chaos.events import drafts
from tests.chaos.made_up import CATALOG
from tests.chaos.schedule import ODD, PASSING, SESSION_SECONDS, SLOTS, SURROUNDINGS, Blow, Deed, Schedule
from tests.chaos.test_surroundings import BLOWS, OPTIONS


def schedules() -> st.SearchStrategy[Schedule]:
    return st.builds(lambda number, seed: plan_of(number, seed, 10_000).schedule(), st.integers(0, 1), st.integers(0))


@given(schedules())
@settings(max_examples=50, deadline=None)
def test_the_same_seed_gives_the_same_schedule(schedule: Schedule) -> None:
    number = int(schedule.with_faults)
    assert plan_of(number, schedule.seed - number, 10_000).schedule() == schedule


@given(schedules())
@settings(max_examples=50, deadline=None)
def test_nothing_is_done_to_a_worker_that_is_away_and_all_is_mended_at_the_end(schedule: Schedule) -> None:
    running: set[int | None] = set(schedule.workers)
    frozen: set[int | None] = set()
    faults: set[int | None] = set()
    broker = "up"
    for act in schedule.acts:
        match act.deed:
            case Deed.KILL | Deed.TERM:
                assert act.worker in running - frozen
                running.remove(act.worker)
            case Deed.START:
                assert act.worker is not None
                assert act.worker not in running
                running.add(act.worker)
            case Deed.FREEZE:
                assert act.worker in running - frozen
                frozen.add(act.worker)
            case Deed.THAW:
                frozen.remove(act.worker)
            case Deed.BROKER_KILL | Deed.BROKER_STOP | Deed.BROKER_FREEZE:
                assert broker == "up"
                broker = "away" if act.deed is not Deed.BROKER_FREEZE else "frozen"
            case Deed.BROKER_START | Deed.BROKER_THAW:
                assert broker == ("away" if act.deed is Deed.BROKER_START else "frozen")
                broker = "up"
            case Deed.FAULT:
                faults.add(act.fault)
            case Deed.END_FAULT:
                faults.remove(act.fault)
    assert running
    assert len(running) <= SLOTS
    assert (frozen, broker, faults) == (set(), "up", set())


@given(schedules())
@settings(max_examples=50, deadline=None)
def test_a_stop_outlasts_the_session_and_a_pause_does_not(schedule: Schedule) -> None:
    for act in schedule.acts:
        if act.deed is Deed.FREEZE:
            thaw = next(a for a in schedule.acts if a.deed is Deed.THAW and a.worker == act.worker and a.at > act.at)
            assert (thaw.at - act.at > SESSION_SECONDS) == (act.opens is Blow.STOP)


def test_a_run_with_faults_has_every_kind_and_rules_that_the_simulator_takes() -> None:
    schedule = plan_of(1, 4, 10_000).schedule()
    rules = [*schedule.rules, *schedule.lasting]
    assert {rule["kind"] for rule in rules} == set(Kind) - {"duplicate_key_fault", "ok_but_unknown", "answer"}
    for rule in rules:
        FaultRule.model_validate(rule)
    assert sum(rule.get("after") is True for rule in rules) > 3
    assert any(act.down for act in schedule.acts)


def test_a_run_without_faults_has_every_other_blow() -> None:
    blows = plan_of(0, 4, 10_000).schedule().blows()
    assert set(blows) >= {Blow.KILL, Blow.TERM, Blow.STOP, Blow.PAUSE, Blow.BROKER_KILL, Blow.BROKER_FREEZE}


@pytest.mark.parametrize("seed", range(5))
def test_the_surroundings_are_given_back_as_often_as_taken_and_odd_answers_are_taken(seed: int) -> None:
    run = replace(plan_of(1, seed, 10_000), deck=SURROUNDINGS, surroundings=True)
    schedule = run.schedule()
    assert set(schedule.blows()) >= set(SURROUNDINGS)
    taken: list[Blow] = []
    for act in schedule.acts:
        if act.deed is Deed.TAKE and act.what:
            assert act.what not in taken
            taken.append(act.what)
        elif act.deed is Deed.GIVE and act.what:
            taken.remove(act.what)
    assert taken == []
    for rule in schedule.rules:
        FaultRule.model_validate(rule)
    assert {rule["kind"] for rule in (*ODD, *PASSING)} | {"slow", "row_error"} == set(Kind)


def test_the_short_form_has_every_blow_that_it_names() -> None:
    options = dict(zip(OPTIONS.split()[::2], OPTIONS.split()[1::2], strict=False))
    deck = tuple(Blow(name) for name in BLOWS.split(","))
    run = plan_of(0, int(options["--seed"]), int(options["--events"]), faults=[True])
    assert set(replace(run, deck=deck, gap=(1.5, 3.0), surroundings=True).schedule().blows()) >= set(deck)


def test_the_events_are_a_function_of_the_seed() -> None:
    assert list(drafts(5, 200, 30)) == list(drafts(5, 200, 30))
    assert list(drafts(5, 200, 30)) != list(drafts(6, 200, 30))


@pytest.mark.parametrize("seed", [1, 2])
def test_events_are_valid_where_they_say_so_and_of_every_kind(seed: int) -> None:
    found = set()
    for draft in drafts(seed, 3000, 60):
        record = SourceRecord("t", 0, 0, 0, draft.key, draft.value)
        try:
            event = read_event(record, CATALOG)
        except InvalidEvent as problem:
            assert not draft.valid
            found.add(problem.entry.code)
        else:
            assert draft.valid
            found.add("null" if draft.value is None else f"{event.operation} {event.delete_scope}")
    assert found >= {"null", "NEW None", "UPDATE None", "DELETE PROFILE", "DELETE ENTITIES", "EVENT-NO-KEY"}
    assert {"EVENT-NOT-JSON", "EVENT-KEY-MISMATCH", "EVENT-UNKNOWN-COLUMN", "EVENT-SCHEMA"} <= found


def test_the_marks_of_a_consumer_rise() -> None:
    marks: dict[bytes, list[str]] = {}
    for draft in drafts(3, 2000, 40):
        if draft.valid and draft.value and draft.key and "consumer" in (document := json.loads(draft.value)):
            marks.setdefault(draft.key, []).append(document["consumer"]["LastName"])
    assert all(a < b for own in marks.values() for a, b in itertools.pairwise(own))
