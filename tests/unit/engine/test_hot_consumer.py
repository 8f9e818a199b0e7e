"""One consumer with more events than its share of the room: the others do not wait, and its order survives crashes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.engine import holds
from app.engine.arrivals import Arrival
from app.engine.backpressure import LEAST_SHARE, Room
from app.engine.flow import Result, Work
from app.kafka.limits import STATE_RECORD_BYTES
from tests.support.examples import examples
from tests.unit.engine.test_partition import SCRIPTS, assert_all_is_exact, settle_down, until
from tests.unit.engine.world import PIPELINE, TIME_MS, Event, Lost, World

MAIN, RETRY = (PIPELINE.topic, 0), (PIPELINE.retry_topic, 0)
HOT, OTHERS = 300, 40


def hold_back(world: World, name: str) -> asyncio.Event:
    """Calls of consumers whose name begins so are not answered before the event is set."""
    run, go = world.flow.run, asyncio.Event()

    async def held_back(work: Work, **rest: Any) -> Result:
        if work.consumer.startswith(name):
            await go.wait()
        return await run(work, **rest)

    world.flow.run = held_back  # type: ignore[method-assign]
    return go


@pytest.mark.parametrize("hot_ones", [1, 3])
async def test_others_do_not_wait_for_hot_consumers(hot_ones: int) -> None:
    hot = [Event(f"hot{number % hot_ones}") for number in range(HOT)]
    world = World(hot + [Event(f"c{number}") for number in range(OTHERS)])
    go = hold_back(world, "hot")
    await world.start()
    await until(lambda: world.outcomes() == {"synced": OTHERS}, 20_000)
    go.set()
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_a_burst_within_the_share_is_not_parked() -> None:
    room = Room(1024, 10_000)
    assert room.share == 512
    world = World([Event("a")] * 4, concurrency=4)
    await world.start()
    assert await world.run()
    await world.stop()
    assert world.topics.get(PIPELINE.retry_topic, []) == []


def test_the_share_is_half_of_what_is_free_and_never_nothing() -> None:
    room = Room(1024, 10)
    for _ in range(1024):
        room.enter()
    assert room.share == LEAST_SHARE
    assert Room(1, 10).share == 1
    assert Room(16, 10).share == 8


async def test_events_beyond_the_share_are_not_counted_as_parked_by_failure() -> None:
    world = World([Event("hot")] * 100 + [Event("c")], max_parked=10)
    go = hold_back(world, "hot")
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 1}, 20_000)
    assert world.partition.parked.beyond_share > 80
    assert world.context.room.parked == 0
    go.set()
    assert await world.run()
    assert (world.partition.parked.beyond_share, world.context.room.parked) == (0, 0)
    await world.stop()
    assert_all_is_exact(world)


async def test_a_hot_consumer_that_begins_to_fail_counts_as_parked_from_then_on() -> None:
    events = [Event("hot")] * 6 + [Event("hot", "twice")] + [Event("hot")] * 40
    world = World([*events, Event("c")], max_parked=5)
    await world.start()
    assert await world.run()
    assert (world.partition.parked.beyond_share, world.context.room.parked) == (0, 0)
    await world.stop()
    assert_all_is_exact(world)


# After a crash the youngest events are parked durably and the oldest ones are not decided at all.


async def crashed_with_a_lane_and_its_tail_parked(events: list[Event], *, max_parked: int = 1_000) -> World:
    world = World(events, max_parked=max_parked)
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: len(world.state().parked) > 10)
    await settle_down()
    await world.die()
    world.flow.gate = None
    world.flow.effects.clear()
    assert not world.state().decided(0)
    return world


async def test_what_the_last_owner_had_in_its_lane_runs_before_what_it_parked() -> None:
    world = await crashed_with_a_lane_and_its_tail_parked([Event("hot")] * 40)
    inbox_of = world._inbox

    def slow_main(topic: str) -> asyncio.Queue[Arrival]:
        inbox = inbox_of(topic)
        if topic == PIPELINE.topic:
            world.slow = asyncio.Event()  # type: ignore[attr-defined]
            get = inbox.get

            async def later() -> Arrival:
                await world.slow.wait()  # type: ignore[attr-defined]
                return await get()

            inbox.get = later  # type: ignore[method-assign]
        return inbox

    world._inbox = slow_main  # type: ignore[method-assign]
    await world.start()
    await settle_down(500)
    assert world.flow.effects == [], "younger events ran although older ones had not been seen"
    world.slow.set()  # type: ignore[attr-defined]
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_a_full_parking_does_not_keep_away_what_its_events_wait_for() -> None:
    world = await crashed_with_a_lane_and_its_tail_parked([Event("hot")] * 30 + [Event("hot", "once")], max_parked=3)
    state = world.state()
    state.parked = {o: ParkedEvent(e.consumer, "e", 1) for o, e in state.parked.items()}
    record = next(r for r in reversed(world.topics[PIPELINE.state_topic]) if r.value is not None)
    world.topics[PIPELINE.state_topic].append(type(record)(record.topic, 0, record.key, state.encode()))
    await world.start()
    assert world.context.room.full_of_parked or not world.ownership.partitions
    assert await world.run()
    await world.stop()
    assert world.outcomes() == {"synced": 31}
    assert world.order_of("hot") == list(range(31))


async def test_parked_events_do_not_wait_for_ever_for_older_ones_that_were_deleted() -> None:
    world = await crashed_with_a_lane_and_its_tail_parked([Event("hot")] * 40)
    parked = sorted(world.state().parked)
    world.begin = len(world.events)  # retention, or a hand: they are not read again
    await world.start()
    for _ in range(4):
        await settle_down()
        world.look()
    await until(lambda: not world.state().parked)
    assert world.order_of("hot") == parked
    await world.stop()


@given(
    st.lists(st.builds(Event, st.sampled_from("ab"), st.sampled_from(SCRIPTS)), min_size=8, max_size=24),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(Lost)), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_crash_at_any_write_loses_nothing_of_consumers_beyond_their_share(
    events: list[Event], crashes: list[tuple[int, Lost]], commits: list[bool]
) -> None:
    async def history() -> None:
        world = World(events, concurrency=1)
        for (write, lost), commit in zip(crashes, commits, strict=False):
            await world.start(dies_at=write, lost=lost)
            await world.run()
            if commit:
                world.commit()
            await world.die()
        await world.start()
        assert await world.run(looking=True)
        await world.stop()
        assert_all_is_exact(world)

    asyncio.run(history())


# Bounds of one partition


async def held(world: World) -> dict[tuple[str, int], str]:
    await settle_down()
    return world.ownership.holds()


async def idle_owner() -> World:
    world = World([Event("a")])
    await world.start()
    assert await world.run()
    return world


async def test_a_partition_waits_whose_oldest_event_has_too_many_settled_ones_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holds, "SPAN", 30)
    world = World([Event("slow"), *(Event(f"c{number}") for number in range(100))])
    go = hold_back(world, "slow")
    await world.start()
    await until(lambda: world.ownership.holds().get(MAIN) == holds.FULL_SPAN)
    await settle_down(500)
    assert len(world.state().decided_above) <= 30
    go.set()
    await until(lambda: world.outcomes() == {"synced": 101})
    assert world.ownership.holds() == {}
    await world.stop()


async def test_a_partition_waits_whose_values_fill_its_memory_and_copies_have_half_of_it() -> None:
    world = await idle_owner()
    ledger = world.ledger
    ledger.fetched(MAIN, [1], [holds.VALUES_BYTES - 1])
    assert MAIN not in await held(world)
    ledger.fetched(RETRY, [0], [1])
    assert (await held(world))[MAIN] == holds.FULL_MEMORY
    ledger.close(MAIN, 1)
    ledger.fetched(RETRY, [1], [2 * holds.VALUES_BYTES])
    # None of the copies can go on, so reading goes on: the one that can may be the next. Events have their half.
    assert await held(world) == {}
    await world.stop()


async def test_a_partition_waits_that_has_parked_too_many_healthy_events() -> None:
    world = await idle_owner()
    world.partition.parked.beyond_share = holds.BEYOND_SHARE
    assert await held(world) == {MAIN: holds.FULL_SHARE}
    await world.stop()


async def test_a_partition_waits_whose_parked_events_would_fill_its_record() -> None:
    world = await idle_owner()
    world.partition.record_room.bytes = holds.PARKED_BYTES
    assert await held(world) == {MAIN: holds.FULL_RECORD}
    await world.stop()
    assert 2 * holds.PARKED_BYTES <= STATE_RECORD_BYTES, "what else the record holds has the other half"


@pytest.mark.parametrize(
    "name",
    ["c", "\N{DOG FACE}" * 505, '"' * 505, "\\" * 505, "\x01" * 505],
    ids=["short", "long", "quotes", "backslashes", "controls"],
)
@pytest.mark.parametrize("time_ms", [TIME_MS, 1], ids=["a time", "no possible time"])
async def test_parked_events_are_counted_with_all_that_their_record_may_hold(name: str, time_ms: int) -> None:
    """Whatever fails of them, and however often; nothing is left of it when they are settled."""
    world = World([Event(f"{n % 7}{name}", "twice" if n % 3 else "never") for n in range(60)], max_parked=1_000)
    world.timestamps = dict.fromkeys(range(60), time_ms)
    await world.start()
    await until(lambda: world.state().mark)
    empty, shares = len(PartitionState(mark=world.state().mark).encode()), []

    def settled() -> bool:
        state = world.state()
        parked = len(PartitionState(parked=state.parked, mark=state.mark).encode()) - empty
        shares.append(parked / max(1, world.partition.record_room.bytes))
        return world.is_done()

    await until(settled, 50_000)
    assert 0.0 < max(shares) <= 1.0
    await until(lambda: world.partition.record_room.bytes == 0)
    await world.stop()
    assert_all_is_exact(world)


async def test_what_was_given_up_waits_for_a_closed_dead_letter_topic_within_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.engine.record_room.GIVEN_UP_BYTES", 2_000)
    world = World([Event(f"c{n}", "never" if n % 2 else "refused") for n in range(16)])
    await world.start()
    world.producer.closed_topics.add(PIPELINE.dlq_topic)
    await until(lambda: world.state().verdicts)
    await settle_down(2_000)
    state = world.state()
    written = len(state.encode()) - len(replace(state.copy(), verdicts={}).encode())
    assert 1_000 < written <= world.partition.record_room.bytes
    assert written <= 2_000
    world.commit()
    await world.die()

    await world.start()
    world.producer.closed_topics.add(PIPELINE.dlq_topic)
    await until(lambda: world.ownership.partitions)
    assert world.partition.record_room.bytes >= written
    world.partition.record_room.bytes += holds.PARKED_BYTES - written
    assert await held(world) == {MAIN: holds.FULL_RECORD}
    world.partition.record_room.bytes -= holds.PARKED_BYTES - written
    world.producer.closed_topics.clear()
    assert await world.run(looking=True)
    await until(lambda: world.partition.record_room.bytes == 0)
    await world.stop()
    assert world.outcomes() == {"failed": 16}


async def test_a_stop_does_not_wait_for_what_is_to_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.record_room.GIVEN_UP_BYTES", 1)
    world = World([Event("a", "refused"), Event("b", "refused")])
    await world.start()
    world.producer.closed_topics.add(PIPELINE.dlq_topic)
    await until(lambda: world.state().verdicts)
    await settle_down()
    assert len(world.state().verdicts) == 1
    assert len(world.partition.stop_taking()) == 3, "both events, and what looks after dead letters"
    await settle_down()
    assert len(world.partition.tasks.running) == 1, "only the dead letter is under way"
    await world.die()
    await world.start()
    assert await world.run()
    await world.stop()
    assert world.outcomes() == {"failed": 2}


async def test_that_a_partition_waits_is_logged_once() -> None:
    world = await idle_owner()
    with capture_logs() as lines:
        for beyond_share in (holds.BEYOND_SHARE, holds.BEYOND_SHARE, 0, 0):
            world.partition.parked.beyond_share = beyond_share
            world.look()
    await world.stop()
    said = [(line["event"], line["partition"], line.get("reason")) for line in lines]
    assert said == [
        ("a partition waits, the others go on", 0, holds.FULL_SHARE),
        ("a partition is read again", 0, None),
    ]
