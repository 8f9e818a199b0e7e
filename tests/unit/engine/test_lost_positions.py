"""What the consumer makes of a position that is not there, and of one that runs ahead of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.consumer import ThreadDelegateConsumer
from faust.types import TP

from app.delivery.record_digest import RecordDigest
from app.engine.consumer import LedgerConsumer
from app.engine.continuity import Continuity
from app.engine.resets import NOT_KNOWN_YET
from tests.unit.engine.test_claims import Brokers
from tests.unit.engine.test_partition import settle_down, until
from tests.unit.engine.world import PIPELINE, Event, World

MAIN, RETRY, ALERTS = (TP(topic, 0) for topic in (PIPELINE.topic, PIPELINE.retry_topic, PIPELINE.alerts_topic))
OURS = [RETRY, ALERTS]


@dataclass
class Thread:
    """The client: where it stands, and what it hands over next."""

    positions: dict[TP, int]
    was_reset: dict[TP, int] = field(default_factory=dict)
    batches: dict[TP, list[Any]] = field(default_factory=dict)
    under_way: asyncio.Event = field(default_factory=asyncio.Event)

    async def getmany(self, active: Iterable[TP], timeout: float) -> dict[TP, list[Any]]:
        batches, self.batches = self.batches, {}
        for tp, batch in batches.items():
            self.positions[tp] = batch[-1].offset + 1
        await self.under_way.wait()
        return batches

    async def position(self, tp: TP) -> int:
        return self.positions[tp]

    def assignment(self) -> set[TP]:
        return set(self.positions)

    def seek(self, tp: TP, offset: int) -> None:
        self.positions[tp] = offset

    async def seek_wait(self, positions: Mapping[TP, int]) -> None:
        self.positions.update(positions)


class Consumer(LedgerConsumer):
    """Without Faust's machinery around it."""

    def __init__(self, world: World) -> None:
        self._ownership, self._ledger = world.ownership, world.ledger
        self._thread = Thread({MAIN: 0, RETRY: 0, ALERTS: 0})
        self._thread.under_way.set()
        self._asked, self._not_accepted, self._committed_offset = {}, set(), {}
        self._continuity = Continuity(world.ownership, self._thread.was_reset, set(), self._undo)

    def _is_changelog_tp(self, tp: TP) -> bool:
        return False

    def fetched_upto(self, tp: TP) -> int:
        return self._thread.positions[TP(*tp)]

    async def fetch(self, tp: TP, *offsets: int) -> list[int]:
        """What comes of a fetch."""
        if offsets:
            self._thread.batches[tp] = [SimpleNamespace(offset=offset, key=b"", value=b"") for offset in offsets]
        kept = await self._getmany({MAIN, RETRY, ALERTS}, 0.0)
        return [record.offset for record in kept.get(tp, ())]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World([])
    await world.start()
    await until(lambda: world.ownership.partitions)
    for task in world.tasks:
        task.cancel()
    await asyncio.gather(*world.tasks, return_exceptions=True)
    world.ownership.gate |= {ALERTS}
    monkeypatch.setattr(ThreadDelegateConsumer, "_commit", lambda *_: asyncio.sleep(0, True))
    return world


@pytest.mark.parametrize("tp", OURS)
async def test_a_lost_log_is_read_from_its_beginning_and_commits_go_back(world: World, tp: TP) -> None:
    consumer = Consumer(world)
    assert await consumer.fetch(tp, 0, 1, 2) == [0, 1, 2]
    for offset in range(3):
        world.ledger.close(tp, offset)
    await consumer._commit({tp: 3})
    consumer._committed_offset[tp] = 3
    consumer._thread.was_reset[tp] = consumer._thread.positions[tp] = 0
    assert await consumer.fetch(tp, 0, 1) == [0, 1]
    assert world.ledger.committable(tp) == 0
    assert world.ledger.waiting(tp) == 0
    assert consumer._new_offset(tp) == 0
    assert consumer._should_commit(tp, 0)
    # A commit of before that was under way ends only now.
    consumer._committed_offset[tp] = 3
    assert consumer._should_commit(tp, 0)
    assert consumer.committed_again() == {}, "the proof of membership does not take it forward"
    await consumer._commit({tp: 0})
    consumer._committed_offset[tp] = 0
    assert not consumer._should_commit(tp, 0)


@pytest.mark.parametrize("tp", OURS)
async def test_a_batch_of_the_new_log_that_comes_with_the_news_comes_again(world: World, tp: TP) -> None:
    consumer = Consumer(world)
    assert await consumer.fetch(tp, 0, 1, 2) == [0, 1, 2]
    thread = consumer._thread
    thread.under_way.clear()
    fetching = asyncio.create_task(consumer.fetch(tp, 0, 1, 2, 3))
    await settle_down(3)
    thread.was_reset[tp] = 0
    thread.under_way.set()
    assert await fetching == []
    assert thread.positions[tp] == 0
    assert await consumer.fetch(tp, 0, 1, 2, 3) == [0, 1, 2, 3]
    assert world.ledger.committable(tp) == 0


@pytest.mark.parametrize("target", [NOT_KNOWN_YET, 0])
@pytest.mark.parametrize("tp", OURS)
async def test_a_batch_of_before_that_comes_with_the_news_is_taken(world: World, tp: TP, target: int) -> None:
    consumer = Consumer(world)
    assert await consumer.fetch(tp, 0, 1, 2) == [0, 1, 2]
    thread = consumer._thread
    thread.under_way.clear()
    fetching = asyncio.create_task(consumer.fetch(tp, 3, 4))
    await settle_down(3)
    thread.was_reset[tp] = target
    thread.under_way.set()
    assert await fetching == [3, 4]


@pytest.mark.parametrize("tp", OURS)
async def test_a_committed_offset_behind_the_end_is_not_waited_for(world: World, tp: TP) -> None:
    consumer = Consumer(world)
    consumer._committed_offset[tp] = 6  # as it was read when the generation began
    consumer._thread.was_reset[tp] = 0
    assert await consumer.fetch(tp) == []
    assert await consumer.fetch(tp, 0, 1, 2) == [0, 1, 2]
    assert world.ledger.log(tp) == 1


@pytest.mark.parametrize(("committed", "first"), [(None, 0), (6, 6), (6, NOT_KNOWN_YET)])
@pytest.mark.parametrize("tp", OURS)
async def test_a_position_that_is_only_found_out_is_no_loss(
    world: World, tp: TP, committed: int | None, first: int
) -> None:
    consumer = Consumer(world)
    consumer._committed_offset[tp] = committed
    consumer._thread.was_reset[tp] = first
    assert await consumer.fetch(tp, 6, 7) == [6, 7]
    assert world.ledger.log(tp) == 0


async def test_a_position_of_the_main_topic_that_is_there_after_all_is_fetched_next(world: World) -> None:
    consumer = Consumer(world)
    world.context.topics = Brokers(ids={}, state_id="", records=[RecordDigest.of(2, b"", b"")])
    assert await consumer.fetch(MAIN, 0, 1, 2) == [0, 1, 2]
    consumer._thread.was_reset[MAIN] = 0
    assert await consumer.fetch(MAIN, 0, 1, 2, 3) == []
    assert await consumer.fetch(MAIN) == []
    assert consumer._thread.positions[MAIN] == 3
    assert await consumer.fetch(MAIN, 3, 4) == [3, 4]
    assert world.bugs == []


async def test_younger_parked_events_wait_while_older_ones_are_on_their_way_to_the_ledger() -> None:
    """The client's position moves when a fetch ends in its thread; the ledger hears of it a moment later."""
    world = World([Event("hot")] * 40)
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: len(world.state().parked) > 10)
    await settle_down()
    await world.die()
    await world.start()
    await until(lambda: world.ownership.partitions)
    for task in world.tasks:
        task.cancel()
    await settle_down()
    assert world.partition.catching_up
    consumer = Consumer(world)
    await consumer.fetch(MAIN)  # goes to where the work goes on
    consumer._thread.under_way.clear()
    fetching = asyncio.create_task(consumer.fetch(MAIN, *range(40)))
    await settle_down(3)
    assert consumer.fetched_upto(MAIN) == 40
    world.ownership.look(lambda _: True)
    assert world.partition.catching_up
    consumer._thread.under_way.set()
    await fetching
    await consumer.fetch(MAIN)
    assert world.partition.catching_up, "they are in the ledger and have not arrived"
    await world.die()


async def test_a_position_of_before_the_take_over_says_nothing_about_what_was_seen() -> None:
    world = World([Event("hot")] * 40)
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: len(world.state().parked) > 10)
    await settle_down()
    await world.die()
    await world.start()
    consumer = Consumer(world)
    consumer._thread.positions[MAIN] = 100  # the group's offset was moved
    consumer._thread.under_way.clear()
    fetching = asyncio.create_task(consumer.fetch(MAIN))
    await until(lambda: world.ownership.partitions)
    for task in world.tasks:
        task.cancel()
    consumer._thread.under_way.set()
    await fetching
    assert world.partition.catching_up
    await consumer.fetch(MAIN)
    assert consumer.fetched_upto(MAIN) == 0
    assert world.partition.catching_up
    await world.die()
