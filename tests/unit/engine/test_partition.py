"""The life of events on one partition: order, parking, barriers; and whatever a crash at any write leaves behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.delivery.closed_days import parse_document_key
from app.delivery.headers import Failing, retry_headers
from app.delivery.record import SourceRecord
from app.engine import context
from app.engine.breaker import WAITING_TO_PROBE
from app.engine.context import EngineStopped, now_ms
from app.engine.flow import Follows
from app.kafka.durable_producer import Write
from tests.support.examples import examples
from tests.unit.engine.world import DAY, MAX_ATTEMPTS, PIPELINE, Event, Lost, World

SCRIPTS = ["ok", "ok", "ok", "once", "twice", "never", "refused", "partial", "bug", "invalid"]
events = st.lists(st.builds(Event, st.sampled_from("abc"), st.sampled_from(SCRIPTS)), min_size=1, max_size=14)


async def until(condition: Callable[[], object], steps: int = 5_000) -> None:
    """Let the loop run until the condition holds."""
    for _ in range(steps):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


async def settle_down(steps: int = 200) -> None:
    """Let everything happen that can."""
    for _ in range(steps):
        await asyncio.sleep(0)


def assert_all_is_exact(world: World) -> None:
    """What must hold of every history, with and without crashes."""
    assert world.outcomes() == dict(Counter(event.outcome.value for event in world.events))
    letters = {offset for offset, event in enumerate(world.events) if event.dead_letter}
    assert set(world.dead_letters()) == letters
    state = world.state()
    assert (state.parked, state.verdicts) == ({}, {})
    for consumer in {event.consumer for event in world.events}:
        worked_on = [
            n for n, event in enumerate(world.events) if event.consumer == consumer and event.script != "invalid"
        ]
        assert world.order_of(consumer) == worked_on
    for offset, event in enumerate(world.events):
        attempts = world.attempts_of(offset)
        needed = {"once": 2, "twice": 3, "never": MAX_ATTEMPTS, "invalid": 0}.get(event.script, 1)
        assert attempts == sorted(attempts), "an attempt was counted back"
        assert set(attempts) == set(range(1, needed + 1))


# Records that are lost between the broker and the agents


@given(events, st.sets(st.integers(0, 13), max_size=4), st.sets(st.integers(0, 9), max_size=3))
@settings(max_examples=examples(60), deadline=None)
def test_what_is_dropped_on_the_way_is_fetched_again_before_anything_overtakes_it(
    events: list[Event], main: set[int], retry: set[int]
) -> None:
    async def history() -> None:
        world = World(events)
        world.dropped = {(PIPELINE.topic, o) for o in main} | {(PIPELINE.retry_topic, o) for o in retry}
        await world.start()
        assert await world.run(looking=True)
        await world.stop()
        assert_all_is_exact(world)
        assert len(world.flow.effects) == len(set(world.flow.effects))

    asyncio.run(history())


async def test_a_copy_that_is_gone_from_the_retry_topic_is_read_from_the_main_topic() -> None:
    world = World([Event("a", "once"), Event("a"), Event("b")])
    world.flow.gate, world.flow.gated_from = asyncio.Event(), 2
    await world.start()
    await until(lambda: len(world.topics.get(PIPELINE.retry_topic, [])) == 2 and len(world.state().parked) == 2)
    await world.die()
    world.committed[PIPELINE.retry_topic] = 2  # somebody moved the group to the end of the topic
    world.flow.gate = None
    await world.start()
    assert await world.run(looking=True)
    await world.stop()
    assert_all_is_exact(world)


# Outages


async def test_an_outage_costs_no_event_however_few_there_are() -> None:
    world = World([Event("a")], breaker_failures=20)  # three attempts of three calls: never 20 failures in a row
    world.flow.target_is_up = False
    await world.start()
    await until(lambda: world.breaker.is_open)
    await settle_down()
    assert world.attempts_of(0)[:3] == [1, 2, 3]
    assert world.outcomes() == {}
    world.flow.target_is_up = True
    assert await world.run()
    assert (world.outcomes(), world.dead_letters()) == ({"synced": 1}, [])
    await world.stop()


async def test_the_flow_hears_whether_a_failure_used_up_an_attempt() -> None:
    world = World([Event("a"), Event("b", "unanswered")], breaker_failures=6)
    world.flow.target_is_up = False
    await world.start()
    await until(lambda: world.breaker.is_open)
    await settle_down()
    follows = [what for _, _, what in world.flow.told]
    assert follows[0] is Follows.DECISION, "an attempt that was made before the breaker opened"
    assert set(follows[1:]) == {Follows.WAITS_FOR_TARGET}, "the breaker is open: no attempt is used up"
    await world.stop()


async def test_the_flow_hears_that_an_event_waits_for_a_right() -> None:
    world = World([Event("a", "needs")], breaker_failures=6)
    world.flow.right_is_there = False
    await world.start()
    await until(lambda: world.flow.told)
    assert {what for _, _, what in world.flow.told} == {Follows.WAITS_FOR_RIGHT}
    await world.stop()


async def test_while_the_breaker_is_open_a_few_events_are_taken_and_no_more() -> None:
    world = World([Event(f"c{number}") for number in range(100)], breaker_failures=3, concurrency=20)
    world.flow.target_is_up = False
    await world.start()
    await until(lambda: world.breaker.is_open)
    await settle_down(500)
    assert world.positions[PIPELINE.topic] in range(WAITING_TO_PROBE, WAITING_TO_PROBE + 20)
    assert world.context.room.parked == 0
    world.flow.target_is_up = True
    assert await world.run()
    assert_all_is_exact(world)
    await world.stop()


async def test_an_event_that_the_target_never_answers_is_given_up_and_holds_nobody_else() -> None:
    poison = Event("p", "unanswered")
    others = [Event(f"c{number % 5}") for number in range(30)]
    world = World([poison, Event("p"), *others, poison, *others], breaker_failures=20)
    await world.start()
    assert await world.run()
    assert world.outcomes() == {"synced": 61, "failed": 2}
    assert set(world.dead_letters()) == {0, 32}
    await world.stop()


# Several targets


def alternating(count: int, *targets: str) -> list[Event]:
    return [Event(f"c{number}@{targets[number % len(targets)]}") for number in range(count)]


async def test_a_target_that_is_down_holds_no_event_of_another() -> None:
    # Six times as many as may be taken at a time.
    world = World(alternating(200, "a", "b"), breaker_failures=3, concurrency=4)
    world.flow.down = {"a"}
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 100}, steps=20_000)
    assert world.breakers["a"].is_open
    assert not world.breakers["b"].is_open
    assert world.dead_letters() == []
    world.flow.down = set()
    assert await world.run()
    assert_all_is_exact(world)
    await world.stop()


async def test_the_events_of_a_target_that_is_down_keep_their_order_and_use_up_no_attempt() -> None:
    events = [Event(f"c{number % 3}@{'ab'[number % 2]}") for number in range(60)]
    world = World(events, breaker_failures=3)
    world.flow.down = {"a"}
    await world.start()
    await until(lambda: world.outcomes().get("synced") == 30, steps=20_000)
    await settle_down()
    world.flow.down = set()
    assert await world.run()
    assert_all_is_exact(world)
    assert {attempt for _, _, attempt in world.flow.effects} == {1}
    await world.stop()


@pytest.mark.parametrize("write", range(0, 40, 4))
async def test_a_crash_while_one_target_is_down_loses_nothing(write: int) -> None:
    events = [Event(f"c{number % 3}@{'ab'[number % 2]}") for number in range(24)]
    world = World(events, breaker_failures=3)
    world.flow.down = {"a"}
    await world.start(dies_at=write)
    await until(lambda: world.producer.dead.is_set() or world.outcomes() == {"synced": 12}, steps=20_000)
    await settle_down()
    await world.die()
    world.flow.down = set()
    await world.start()
    assert await world.run()
    assert_all_is_exact(world)
    await world.stop()


async def test_when_no_more_may_be_parked_the_other_targets_wait_too() -> None:
    world = World([*alternating(40, "b", "a"), Event("last@b")], breaker_failures=3, concurrency=2, max_parked=5)
    world.flow.down = {"a"}
    await world.start()
    await until(lambda: world.context.room.full_of_parked, steps=20_000)
    await settle_down(1_000)
    assert world.attempts_of(40) == []
    world.flow.down = set()
    assert await world.run()
    assert_all_is_exact(world)
    await world.stop()


async def test_consumption_pauses_when_all_targets_are_down_and_each_is_asked_when_it_is_back() -> None:
    world = World([*alternating(30, "a"), *alternating(10, "b", "a"), *alternating(60, "a", "b")], breaker_failures=3)
    world.flow.down = {"a", "b"}
    await world.start()
    await until(lambda: all(breaker.is_open for breaker in world.breakers.values()), steps=20_000)
    await settle_down(500)
    paused_at = world.positions[PIPELINE.topic]
    await settle_down(500)
    assert world.positions[PIPELINE.topic] == paused_at < 100
    world.flow.down = {"a"}
    b_events = sum(event.consumer.endswith("@b") for event in world.events)
    await until(lambda: world.outcomes() == {"synced": b_events}, steps=50_000)
    world.flow.down = set()
    assert await world.run()
    await world.stop()


async def test_events_are_taken_until_each_target_that_is_down_has_one_to_find_out_when_it_is_back() -> None:
    world = World([*alternating(30, "a"), *alternating(30, "b")], breaker_failures=3, concurrency=20)
    world.flow.down = {"a"}
    await world.start()
    world.breakers["b"].trip()  # by an event that went away with its partition
    await until(lambda: world.outcomes() == {"synced": 30}, steps=50_000)
    world.flow.down = set()
    assert await world.run()
    await world.stop()


async def test_a_bug_in_finding_the_target_costs_one_event_and_not_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([Event("a"), Event("b"), Event("a")])
    monkeypatch.setattr(world.flow, "target", lambda work, state: "nowhere" if work.consumer == "b" else "target")
    await world.start()
    assert await world.run()
    assert (world.outcomes(), world.dead_letters()) == ({"synced": 2, "failed": 1}, [1])
    await world.stop()


# Without interruption


@given(events)
@settings(max_examples=examples(40), deadline=None)
def test_every_event_has_one_outcome_in_the_order_of_its_consumer(events: list[Event]) -> None:
    async def history() -> None:
        world = World(events)
        await world.start()
        assert await world.run()
        await world.stop()
        assert_all_is_exact(world)
        # Nothing came in between, so nothing was done twice.
        assert len(world.dead_letters()) == sum(event.dead_letter for event in events)
        assert len(world.flow.effects) == len(set(world.flow.effects))
        assert Counter(world.observed) == Counter(event.outcome for event in events)

    asyncio.run(history())


async def test_the_next_event_of_a_consumer_waits_until_the_outcome_before_is_durable() -> None:
    world = World([Event("a"), Event("a"), Event("b")])
    await world.start()
    await until(lambda: world.ownership.partitions)
    world.producer.hold()
    await until(lambda: len(world.flow.effects) == 2)
    await settle_down()
    assert world.flow.effects == [("a", 0, 1), ("b", 2, 1)]
    world.producer.release()
    assert await world.run()
    assert world.flow.effects[-1] == ("a", 1, 1)
    await world.stop()


@pytest.mark.parametrize("retry_after", [1.0, 0.9996, 0.0301])
async def test_no_attempt_is_due_a_fraction_of_a_millisecond_too_early(
    monkeypatch: pytest.MonkeyPatch, retry_after: float
) -> None:
    world = World([])
    now = 1_800_000_000.000_9
    monkeypatch.setattr(context.time, "time", lambda: now)
    await world.start()
    assert world.context.due_ms(1, retry_after) >= (now + retry_after) * 1000
    monkeypatch.undo()
    await world.stop()


async def test_the_next_attempt_waits_as_long_as_the_target_asks_for() -> None:
    world = World([Event("a", "once")])
    world.flow.retry_after = 3600.0
    await world.start()
    await until(lambda: 0 in world.state().parked)
    assert world.state().parked[0].due_ms - now_ms() == pytest.approx(3_600_000, abs=60_000)
    await settle_down()
    assert world.attempts_of(0) == [1]
    await world.stop()


async def test_while_a_call_may_still_be_carried_out_its_consumer_waits_and_no_other() -> None:
    world = World([Event("a", "partial"), Event("a"), Event("b"), Event("b")], concurrency=1)
    world.flow.late_seconds = 3600.0
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 2})
    await settle_down()
    assert (world.attempts_of(0), world.attempts_of(1)) == ([1], [])
    await world.stop()
    assert world.committed[PIPELINE.topic] == 0
    world.flow.late_seconds = 0.001
    await world.start()
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_a_write_that_may_land_late_is_waited_for_after_a_bug_too() -> None:
    world = World([Event("a", "bug"), Event("a"), Event("b")], concurrency=1)
    world.flow.late_seconds = 3600.0
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 1})
    await settle_down()
    assert (world.attempts_of(0), world.attempts_of(1)) == ([1], [])
    await world.stop()


async def test_an_outage_is_not_probed_with_an_event_whose_call_may_still_be_carried_out() -> None:
    world = World([Event("a"), Event("a")], breaker_failures=3)
    world.flow.target_is_up, world.flow.late_seconds = False, 3600.0
    await world.start()
    await until(lambda: world.breaker.is_open)
    world.flow.target_is_up = True
    await asyncio.sleep(0.01)  # ten times the time to the next probe
    await settle_down()
    assert world.flow.effects == [("a", 0, 1)]
    await world.stop()
    await world.start()
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_an_attempt_that_was_stopped_is_not_repeated_while_a_call_of_it_may_still_be_carried_out() -> None:
    world = World([Event("a", "stopped"), Event("b")], concurrency=1)
    world.flow.late_seconds = 3600.0
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 1})
    await settle_down()
    assert world.flow.effects == [("a", 0, 1), ("b", 1, 1)]
    await world.stop()
    world.flow.late_seconds = 0.001
    await world.start()
    assert await world.run()
    await world.stop()
    assert world.attempts_of(0) == [1, 1, 1]
    assert_all_is_exact(world)


async def test_an_event_that_cannot_be_parked_is_given_up_when_it_would_have_been_tried_again() -> None:
    world = World([Event("a", "once"), Event("b")])
    world.flow.retry_after = 3600.0
    await world.start()
    world.producer.refused_topics = {PIPELINE.retry_topic}
    await until(lambda: world.outcomes() == {"synced": 1})
    await settle_down()
    assert world.attempts_of(0) == [1]
    assert (world.outcomes(), world.dead_letters()) == ({"synced": 1}, [])
    await world.stop()


async def test_an_outcome_that_was_held_back_counts_only_with_a_lease() -> None:
    world = World([Event("a", "partial")])
    world.flow.late_seconds, world.flow.gate = 0.001, asyncio.Event()
    await world.start()
    await until(lambda: world.flow.effects)
    world.flow.gate.set()
    await settle_down(3)
    world.lease.held = False
    await asyncio.sleep(0.01)
    assert world.outcomes() == {}
    world.lease.held = True
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_no_more_events_are_parked_than_may_be_and_all_get_through_in_the_end() -> None:
    events = [Event("a", "twice")] + [Event("a")] * 20 + [Event("b")]
    world = World(events, max_parked=4)
    world.flow.gate, world.flow.gated_from = asyncio.Event(), 2
    await world.start()
    await until(lambda: world.context.room.full_of_parked)
    await settle_down()
    assert world.context.room.parked == 4
    assert len(world.partition.copies) == 4
    assert world.attempts_of(len(events) - 1) == [], "back-pressure holds everything behind"
    world.flow.gate.set()
    assert await world.run()
    assert_all_is_exact(world)
    await world.stop()


async def test_consumers_run_side_by_side_up_to_the_limit() -> None:
    world = World([Event(consumer) for consumer in "abcdefg"], concurrency=3)
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: len(world.flow.effects) == 3)
    await settle_down()
    assert len(world.flow.effects) == 3
    assert world.context.in_flight == 3
    world.flow.gate.set()
    assert await world.run()
    assert world.context.in_flight == 0
    await world.stop()


async def test_taking_stops_when_there_is_no_room_and_goes_on_when_there_is() -> None:
    world = World([Event(f"c{number}") for number in range(40)], concurrency=2)
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: len(world.flow.effects) == 2)
    await settle_down(500)
    # More were fetched: one waits for room in the agent, one in its queue, and one for that.
    assert world.ledger.unclaimed(PIPELINE.topic) == 3
    assert len(list(world.partition.lanes.offsets())) == 8
    world.flow.gate.set()
    assert await world.run()
    await world.stop()


async def test_a_failing_event_parks_what_follows_of_its_consumer_and_nobody_else() -> None:
    world = World([Event("a", "once"), Event("a"), Event("b"), Event("a", "refused"), Event("b")])
    await world.start()
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)
    copies = [record.value for record in world.topics[PIPELINE.retry_topic]]
    assert copies[0] == b"a|once"
    assert b"b|ok" not in copies
    # The copy of the failing one goes out first, the others may overtake each other on the way.
    assert Counter(copies) == Counter([b"a|once", b"a|ok", b"a|refused"])


async def test_a_main_offset_stays_open_until_the_copy_and_the_record_are_durable() -> None:
    world = World([Event("a", "once")])
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: world.flow.effects)
    world.producer.hold()
    world.flow.gate.set()
    await settle_down()
    assert world.ledger.committable((PIPELINE.topic, 0)) == 0
    world.producer.release()
    await until(lambda: world.ledger.committable((PIPELINE.topic, 0)) == 1)
    assert 0 in world.state().parked or world.state().decided(0)
    assert await world.run()
    await world.stop()


async def test_a_copy_stays_open_until_its_event_is_settled() -> None:
    world = World([Event("a", "once")])
    world.flow.gate, world.flow.gated_from = asyncio.Event(), 2
    await world.start()
    await until(lambda: world.attempts_of(0) == [1, 2])
    await settle_down()
    assert world.ledger.committable((PIPELINE.retry_topic, 0)) == 0
    world.flow.gate.set()
    assert await world.run()
    assert world.ledger.committable((PIPELINE.retry_topic, 0)) == 1
    await world.stop()


def stray_copy(offset: int, mark: str | None, consumer: bytes = b"a", topic: str = PIPELINE.topic) -> Write:
    """A copy of an event as an owner that died has left it."""
    value = consumer + b"|ok"
    record = SourceRecord(topic, 0, offset, 1, consumer, value)
    return Write(PIPELINE.retry_topic, 0, consumer, value, retry_headers(record, Failing("event", attempts=1), mark))


async def test_copies_that_nobody_waits_for_are_closed_and_do_nothing() -> None:
    world = World([Event("a"), Event("b")])
    await world.start()
    assert await world.run()
    world.topics[PIPELINE.retry_topic] += [
        stray_copy(0, world.state().mark),
        stray_copy(1, world.state().mark),
        stray_copy(99, world.state().mark),
        Write(PIPELINE.retry_topic, 0, b"a", b"?"),
    ]
    assert await world.run()
    assert world.flow.effects == [("a", 0, 1), ("b", 1, 1)]
    assert world.ledger.committable((PIPELINE.retry_topic, 0)) == 4
    await world.stop()


@pytest.mark.parametrize("which", ["another group's", "of an older record", "of another topic", "another consumer's"])
async def test_a_copy_that_is_not_ours_is_never_run_in_place_of_a_parked_event(which: str) -> None:
    """The same offsets stand in the copies of another group, and in those from before the topic was made anew."""
    world = World([Event("a", "twice"), Event("b", "twice")])
    await world.start()
    await until(lambda: world.state().parked.keys() == {0, 1})
    await world.die()
    mark = world.state().mark
    strangers = {
        "another group's": [stray_copy(offset, "other", b"old") for offset in (0, 1)],
        "of an older record": [stray_copy(offset, None, b"old") for offset in (0, 1)],
        "of another topic": [stray_copy(offset, mark, b"old", topic="elsewhere") for offset in (0, 1)],
        "another consumer's": [stray_copy(offset, mark, b"old") for offset in (0, 1)],
    }
    # They are read first, when it is known already who is parked.
    world.topics[PIPELINE.retry_topic][:0] = strangers[which]
    world.committed[PIPELINE.retry_topic] = 0
    await world.start()
    assert await world.run()
    await world.stop()
    assert {consumer for consumer, _, _ in world.flow.effects} == {"a", "b"}
    assert_all_is_exact(world)


async def test_a_record_from_before_copies_had_a_mark_takes_them_without_and_gets_one_when_nothing_is_parked() -> None:
    world = World([Event("a", "twice")])
    await world.start()
    await until(lambda: 0 in world.state().parked)
    await world.die()
    old = world.topics[PIPELINE.state_topic]
    old[:] = [replace(w, value=w.value and w.value.replace(b'"mark":"', b'"was":"')) for w in old]
    copies = world.topics[PIPELINE.retry_topic]
    copies[:] = [replace(w, headers=tuple(h for h in w.headers if h[0] != "x-sync-parked-by")) for w in copies]
    await world.start()
    assert await world.run()
    assert world.state().mark is None
    await world.stop()
    await world.start()
    await until(lambda: world.state().mark)
    await world.stop()
    assert_all_is_exact(world)


async def test_what_is_parked_is_known_before_one_copy_was_read() -> None:
    """A new owner learns from its record who waits: events from the main topic line up behind."""
    world = World([Event("a", "twice"), Event("a")])
    await world.start()
    await until(lambda: 0 in world.state().parked)
    await world.die()
    world.committed[PIPELINE.topic] = 1
    # The copies are slow to come this time.
    copies, world.topics[PIPELINE.retry_topic] = world.topics[PIPELINE.retry_topic], []
    before = len(world.flow.effects)
    await world.start()
    await settle_down(500)
    assert world.flow.effects[before:] == []
    world.topics[PIPELINE.retry_topic][:0] = copies
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_nothing_starts_without_a_lease_and_it_goes_on_when_the_lease_is_back() -> None:
    world = World([Event("a"), Event("b")])
    await world.start()
    world.lease.held = False
    await settle_down()
    assert world.flow.effects == []
    world.lease.held = True
    await asyncio.sleep(0.1)
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_an_answer_counts_only_while_the_lease_holds() -> None:
    world = World([Event("a")])
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: world.flow.effects)
    world.lease.held = False
    world.flow.gate.set()
    await settle_down()
    assert world.outcomes() == {}
    # Somebody else may have taken over: this owner never says how it ended.
    await world.die()
    await settle_down()
    assert world.outcomes() == {}


async def test_a_drain_lets_work_under_way_end_and_starts_nothing() -> None:
    world = World([Event("a"), Event("a"), Event("b"), Event("c")], concurrency=2)
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: len(world.flow.effects) == 2)
    leaving = asyncio.create_task(world.stop())
    await settle_down()
    world.flow.gate.set()
    await leaving
    assert world.flow.effects == [("a", 0, 1), ("b", 2, 1)]
    assert world.outcomes() == {"synced": 2}
    assert world.committed[PIPELINE.topic] == 1, "a's second event was not begun"
    await world.start()
    assert await world.run()
    await world.stop()
    assert len(world.flow.effects) == 4


async def test_a_bug_of_the_flow_becomes_a_dead_letter() -> None:
    world = World([Event("a", "bug"), Event("a")])
    await world.start()
    assert await world.run()
    await world.stop()
    [letter] = world.topics[PIPELINE.dlq_topic]
    assert dict(letter.headers)["x-sync-reason"] == b"SYNC-BUG"
    assert dict(letter.headers)["x-sync-message"] == b"RuntimeError", "the text of an exception may quote values"


async def test_a_bug_of_the_engine_stops_the_worker() -> None:
    world = World([Event("a")])
    world.flow.read = lambda record: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    await world.start()
    await until(lambda: world.bugs)
    assert isinstance(world.bugs[0], ZeroDivisionError)
    assert world.ledger.committable((PIPELINE.topic, 0)) == 0
    await world.die()


async def test_a_worker_that_cannot_keep_the_records_of_consumers_stops_and_gives_nothing_up() -> None:
    world = World([Event("a")])

    def full(partition: int, consumer_id: str) -> None:
        raise EngineStopped("the disk is full")

    await world.start()
    world.context.states.get = full  # type: ignore[method-assign,assignment]
    await until(lambda: world.bugs)
    assert isinstance(world.bugs[0], EngineStopped)
    assert (world.outcomes(), world.dead_letters()) == ({}, [])
    await world.die()


async def test_what_does_not_fit_into_the_retry_topic_becomes_a_dead_letter_and_lets_others_run() -> None:
    world = World([Event("a", "once"), Event("a"), Event("b")])
    await world.start()
    world.producer.refused_topics.add(PIPELINE.retry_topic)
    assert await world.run()
    await world.stop()
    reasons = [dict(letter.headers)["x-sync-reason"] for letter in world.topics[PIPELINE.dlq_topic]]
    assert set(reasons) == {b"EVENT-TOO-LARGE"}
    assert world.outcomes()["failed"] == len(reasons)


# With crashes


@given(
    events,
    st.lists(st.tuples(st.integers(0, 25), st.sampled_from(Lost)), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(st.sampled_from([0, 1, 2, 40]), min_size=5, max_size=5),
)
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_crash_at_any_write_loses_no_event_no_count_and_no_order(
    events: list[Event], crashes: list[tuple[int, Lost]], commits: list[bool], days_later: list[int]
) -> None:
    async def history() -> None:
        world = World(events)
        late: list[Write] = []
        for (write, lost), commit, days in zip(crashes, commits, days_later, strict=False):
            # From two days on, whatever is counted leaves the record at once, for a document of its own.
            world.today = date.fromisoformat(DAY) + timedelta(days=days)
            await world.start(dies_at=write, lost=lost)
            await world.run()
            if commit:
                world.commit()  # the last thing it could do
            await world.die()
            # What the owner before could not send while it lived turns up now, after its successor's work.
            world.arrive_late(late)
            late = world.producer.late
        for days in (days_later[-1], 41):
            world.today = date.fromisoformat(DAY) + timedelta(days=days)
            await world.start()
            assert await world.run()
            await world.stop()
            assert_all_is_exact(world)
            world.arrive_late(late)

    asyncio.run(history())


@pytest.mark.parametrize("write", range(12))
async def test_an_event_with_a_dead_letter_has_failed_whatever_a_second_run_would_say(write: int) -> None:
    world = World([Event("a", "refused once")])
    await world.start(dies_at=write)
    await world.run()
    await world.die()
    await world.start()
    assert await world.run()
    await world.stop()
    assert world.outcomes() == ({"failed": 1} if world.dead_letters() else {"synced": 1})


def test_closed_days_leave_the_record_and_old_ones_are_dropped() -> None:
    async def history() -> None:
        world = World([Event("a"), Event("a", "refused"), Event("a"), Event("b")])
        world.today = date.fromisoformat(DAY) + timedelta(days=2)
        await world.start()
        assert await world.run()
        await world.stop()
        assert_all_is_exact(world)
        assert world.state().counts == {}
        assert set(world.state().closed_months) == {DAY[:7]}
        # Documents that were replaced are removed: one is left.
        assert len([key for key in world._table() if parse_document_key(key) is not None]) == 1
        world.topics[PIPELINE.topic].append(world.topics[PIPELINE.topic][0])
        world.today = date.fromisoformat(DAY) + timedelta(days=400)
        await world.start()
        await until(lambda: world.state().upto == 4)
        await world.stop()
        assert world.counts() == {}
        assert world.state().closed_months == {}
        assert [key for key in world._table() if parse_document_key(key) is not None] == []

    asyncio.run(history())


def test_the_record_grows_with_what_is_open_not_with_what_was_done() -> None:
    async def history() -> None:
        world = World([Event(f"c{number % 7}", "once" if number % 5 == 0 else "ok") for number in range(300)])
        await world.start()
        assert await world.run()
        await world.stop()
        state = world.state()
        assert (state.upto, state.decided_above) == (299, set())
        assert len(state.encode()) < 500

    asyncio.run(history())
