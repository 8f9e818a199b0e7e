"""The schedule and the events are functions of the seed, and the schedule can be carried out."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.delivery.outcome import InvalidEvent
from app.delivery.record import SourceRecord
from app.profile.event_reader import read_event
from app.simulator.faults import FaultKind, FaultRule
from tests.chaos.__main__ import brokers_of, plan_of
from tests.chaos.events import drafts
from tests.chaos.made_up import CATALOG
from tests.chaos.run import Run
from tests.chaos.schedule import (
    ODD,
    PASSING,
    SESSION_SECONDS,
    SLOTS,
    SURROUNDINGS,
    SURROUNDINGS_OF_THREE,
    Act,
    Blow,
    Deed,
    Schedule,
)
from tests.chaos.test_surroundings import BLOWS, OPTIONS
from tests.support.cluster import REPLICATED

# How long a controller waits before it gives a silent broker's partitions to others: ``tests/support/cluster.py``.
CONTROLLER_SECONDS = float(REPLICATED["broker.session.timeout.ms"]) / 1000


def schedules() -> st.SearchStrategy[Schedule]:
    return st.builds(lambda number, seed: plan_of(number, seed, 10_000).schedule(), st.integers(0, 1), st.integers(0))


def of_three(number: int, seed: int) -> Run:
    return replace(plan_of(number, seed, 10_000), deck=SURROUNDINGS_OF_THREE, surroundings=True, brokers=3)


def schedules_of_three() -> st.SearchStrategy[Schedule]:
    return st.builds(lambda number, seed: of_three(number, seed).schedule(), st.integers(0, 1), st.integers(0))


@given(schedules())
@settings(max_examples=50, deadline=None)
def test_the_same_seed_gives_the_same_schedule(schedule: Schedule) -> None:
    number = int(schedule.with_faults)
    assert plan_of(number, schedule.seed - number, 10_000).schedule() == schedule


@given(st.one_of(schedules(), schedules_of_three()))
@settings(max_examples=50, deadline=None)
def test_a_worker_that_is_away_is_left_alone_and_all_blows_are_undone_at_the_end(schedule: Schedule) -> None:
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
    assert {rule["kind"] for rule in rules} == set(FaultKind) - {"duplicate_key_fault", "ok_but_unknown", "answer"}
    for rule in rules:
        FaultRule.model_validate(rule)
    assert sum(rule.get("after") is True for rule in rules) > 3
    assert any(act.down for act in schedule.acts)


def test_a_run_without_faults_has_every_other_blow() -> None:
    blows = plan_of(0, 4, 10_000).schedule().blows()
    assert set(blows) >= {Blow.KILL, Blow.TERM, Blow.STOP, Blow.PAUSE, Blow.BROKER_KILL, Blow.BROKER_FREEZE}


@given(schedules_of_three())
@settings(max_examples=50, deadline=None)
def test_one_of_three_hangs_longer_than_the_session_and_its_packets_alone_or_those_of_all_are_dropped(
    schedule: Schedule,
) -> None:
    assert schedule.brokers == 3
    begun: Act | None = None
    for act in schedule.acts:
        if act.opens is Blow.ONE_HANGS:
            assert act.deed is Deed.BROKER_FREEZE
            assert act.broker in (1, 2, 3)
            begun = act
        elif act.deed is Deed.BROKER_THAW:
            assert begun is not None
            assert act.broker == begun.broker
            assert 20.0 >= act.at - begun.at > CONTROLLER_SECONDS > SESSION_SECONDS
            begun = None
        elif act.deed is Deed.TAKE:
            assert begun is None, "what is done by way of Kafka does not wait for a broker that hangs"
            assert act.broker is None or act.what is Blow.KAFKA_DROPPED
    assert begun is None


def test_one_of_three_is_hit_and_all_of_them_and_a_worker_dies_while_one_hangs() -> None:
    hit: set[int | None] = set()
    dropped: set[int | None] = set()
    kills = 0
    for seed in range(40):
        hangs = False
        for act in of_three(0, seed).schedule().acts:
            if act.opens is Blow.ONE_HANGS:
                hit.add(act.broker)
            elif act.opens is Blow.KAFKA_DROPPED:
                dropped.add(act.broker)
            hangs = act.deed is Deed.BROKER_FREEZE or (hangs and act.deed is not Deed.BROKER_THAW)
            kills += hangs and act.deed is Deed.KILL
    assert hit == {1, 2, 3}
    assert dropped == {None, 1, 2, 3}
    assert kills


def test_half_of_the_runs_have_three_brokers_with_each_strategy_with_and_without_faults() -> None:
    met = {
        (run.strategy, run.down_seconds > 0, brokers_of(number))
        for number in range(8)
        for run in [plan_of(number, 0, 1000)]
    }
    assert len(met) == 8
    assert {brokers_of(number) for number in range(2)} == {1, 3}
    assert [brokers_of(number, "3") for number in range(3)] == [3, 3, 3]


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
    assert {rule["kind"] for rule in (*ODD, *PASSING)} | {"slow", "row_error"} == set(FaultKind)


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
    marks: dict[bytes, list[tuple[str, str]]] = {}
    for draft in drafts(3, 2000, 40):
        if draft.valid and draft.value and draft.key and "consumer" in (document := json.loads(draft.value)):
            parent = document["consumer"]
            marks.setdefault(draft.key, []).append((parent["LastName"], parent["UpdatedAt"]))
    for kind in ("text", "date"):
        place = ("text", "date").index(kind)
        assert all(a[place] < b[place] for own in marks.values() for a, b in itertools.pairwise(own)), kind
