"""The retry or the alerts topic loses its log under the same ID: their offsets begin again, with other records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.delivery.record import SourceRecord
from app.engine.arrivals import Arrival, handle_arrivals
from app.engine.context import EngineContext
from app.engine.intake import AlertsTopic, RetryTopic
from app.engine.ownership import Ownership
from tests.support.examples import examples
from tests.unit.engine.test_partition import assert_all_is_exact, events, settle_down, until
from tests.unit.engine.world import PIPELINE, Event, World

MAIN, RETRY, ALERTS = ((topic, 0) for topic in (PIPELINE.topic, PIPELINE.retry_topic, PIPELINE.alerts_topic))


async def with_parked(*events: Event, drop: tuple[int, ...] = ()) -> World:
    """An owner of events that are parked for an hour; some of their copies never arrived."""
    world = World(events)
    world.flow.retry_after = 3600.0
    world.dropped = {(PIPELINE.retry_topic, offset) for offset in drop}
    await world.start()
    await until(lambda: len(world.state().parked) == len(events) == world.ledger.high(RETRY) + 1)
    await settle_down()
    world.commit()
    world.flow.retry_after = None
    return world


async def make_due(world: World) -> None:
    await settle_down()  # no write is under way
    state = world.partition.journal.state
    state.parked = {offset: replace(entry, due_ms=0) for offset, entry in state.parked.items()}
    for parked in world.partition.parked:
        parked._turn = (-1, -1, 0.0)
        parked.wake.set()


async def test_copies_in_memory_run_and_those_of_the_new_log_are_read_from_its_beginning() -> None:
    world = await with_parked(Event("a", "once"), Event("a"), Event("b", "twice"))
    world.lose_log(PIPELINE.retry_topic)
    world.publish(Event("c", "once"), Event("c"), Event("d", "once"))
    await until(lambda: world.state().upto == 5)
    await make_due(world)
    assert await world.run(), "nothing waited for a stall to be healed"
    await world.stop()
    assert_all_is_exact(world)


async def test_an_event_of_the_lost_log_does_not_close_the_offset_of_a_copy_in_the_new_one() -> None:
    world = await with_parked(Event("a", "once"), Event("b", "once"))
    world.lose_log(PIPELINE.retry_topic)
    world.flow.retry_after = 3600.0
    await make_due(world)
    world.publish(Event("c", "once"), Event("c"))
    await until(lambda: world.outcomes() == {"synced": 2} and len(world.state().parked) == 2)
    await settle_down()
    assert world.ledger.claimed(RETRY) == {0, 1} == world.partition.copies.retry_offsets()
    assert world.ledger.committable(RETRY) == 0, "the copies of c are still needed"
    world.commit()
    assert world.committed[PIPELINE.retry_topic] == 0
    await world.die()
    world.flow.retry_after = None
    await world.start()
    await until(lambda: world.ownership.partitions)
    await make_due(world)
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


@pytest.mark.parametrize("drop", [(), (3,), (2, 3), (0, 1, 2, 3)])
async def test_copies_that_are_gone_are_read_from_the_main_topic_at_once(drop: tuple[int, ...]) -> None:
    world = await with_parked(Event("a", "once"), Event("a"), Event("b", "once"), Event("a"), drop=drop)
    world.lose_log(PIPELINE.retry_topic)
    with capture_logs() as logged:
        await until(lambda: logged and not world.partition.copies.missing())
    [said] = [line for line in logged if line["log_level"] in ("warning", "error")]
    assert (said["topic"], said["partition"], said["events"]) == (PIPELINE.retry_topic, 0, len(drop))
    await make_due(world)
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)
    assert len(world.flow.effects) == len(set(world.flow.effects)), "nothing ran twice"


async def test_an_owner_that_begins_behind_the_end_of_the_retry_topic_reads_parked_events_from_the_main_topic() -> None:
    world = await with_parked(Event("a", "once"), Event("a"), Event("b", "once"))
    world.committed[PIPELINE.retry_topic] = 3
    await world.die()
    world.lose_log(PIPELINE.retry_topic)
    await world.start()
    await until(lambda: world.ownership.partitions)
    await make_due(world)
    world.publish(Event("c", "once"))
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_a_copy_that_is_lost_before_it_is_noted_as_forwarded_is_read_from_the_main_topic() -> None:
    world = World([Event("a", "once"), Event("a")])
    world.dropped = {(PIPELINE.retry_topic, 0), (PIPELINE.retry_topic, 1)}
    write = asyncio.Event()
    await world.start()
    await until(lambda: world.ownership.partitions)
    put = world.partition.journal._log.write_state

    async def later(state: Any) -> None:
        await write.wait()
        await put(state)

    world.partition.journal._log.write_state = later  # type: ignore[method-assign]
    await until(lambda: world.ledger.high(RETRY) == 1)
    world.lose_log(PIPELINE.retry_topic)
    await settle_down()
    assert not world.partition.journal.state.parked
    write.set()
    assert await world.run()
    await world.stop()
    assert_all_is_exact(world)


async def test_a_copy_that_is_on_its_way_when_the_log_is_lost_takes_no_offset_of_the_new_one() -> None:
    world = await with_parked(Event("a", "once"), Event("b", "once"), drop=(0, 1))
    agent, inbox = an_agent(world, RetryTopic)
    old, new = (
        SourceRecord(PIPELINE.retry_topic, 0, 0, 0, write.key, write.value, write.headers)
        for write in world.topics[PIPELINE.retry_topic]
    )
    inbox.put_nowait((old, world.generation, 0))
    world.ownership.logs.begin_again(RETRY, 2, 0)
    world.ledger.fetched(RETRY, [0])
    inbox.put_nowait((new, world.generation, 1))
    await settle_down()
    assert not world.partition.copies.missing()
    assert world.ledger.claimed(RETRY) == {0}
    agent.cancel()
    await world.die()


def an_agent(
    world: World, make: Callable[[EngineContext, Ownership], RetryTopic | AlertsTopic]
) -> tuple[asyncio.Task[None], asyncio.Queue[Arrival]]:
    """One of the stream's agents, and its queue."""
    for task in world.tasks:
        task.cancel()
    inbox: asyncio.Queue[Arrival] = asyncio.Queue()
    return asyncio.create_task(handle_arrivals(inbox, make(world.context, world.ownership).handle)), inbox


async def test_alerts_of_the_lost_log_and_of_the_new_one_are_all_handled() -> None:
    world = World([])
    await world.start()
    await until(lambda: world.ownership.partitions)
    world.ownership.gate |= {ALERTS}
    handled: list[bytes] = []
    busy = asyncio.Event()

    async def on_alert(key: bytes, value: bytes, number: int) -> None:
        await busy.wait()
        handled.append(value)

    agent, inbox = an_agent(world, partial(AlertsTopic, on_alert=on_alert))

    def fetch(log: int, *values: bytes) -> None:
        world.ledger.fetched(ALERTS, range(len(values)))
        for offset, value in enumerate(values):
            inbox.put_nowait((SourceRecord(PIPELINE.alerts_topic, 0, offset, 0, b"", value), world.generation, log))

    fetch(0, b"one", b"two", b"three")
    await settle_down()
    with capture_logs() as logged:
        world.ownership.logs.begin_again(ALERTS, 3, 0)
    [said] = [line for line in logged if line["log_level"] == "error"]
    assert (said["topic"], said["partition"]) == (PIPELINE.alerts_topic, 0)
    assert world.ownership.healing.rewinds() == {ALERTS: 0}
    fetch(1, b"four", b"five")
    assert world.ledger.committable(ALERTS) == 0
    busy.set()
    await settle_down()
    assert handled == [b"one", b"two", b"three", b"four", b"five"]
    assert world.ledger.committable(ALERTS) == 2
    agent.cancel()
    await world.die()


@given(events, st.lists(st.integers(0, 60), min_size=1, max_size=3))
@settings(max_examples=examples(60), deadline=None)
def test_the_log_may_be_lost_at_any_time(events: list[Event], pauses: list[int]) -> None:
    async def history() -> None:
        world = World(events)
        await world.start()
        for pause in pauses:
            await settle_down(pause)
            world.lose_log(PIPELINE.retry_topic)
        assert await world.run(looking=True, within=60_000)
        await world.stop()
        assert_all_is_exact(world)

    asyncio.run(history())
