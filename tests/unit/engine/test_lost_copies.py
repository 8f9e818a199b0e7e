"""A parked event whose record is gone from both topics: it fails, and its consumer goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.engine.healing import LOST_AFTER_ROUNDS
from tests.unit.engine.test_partition import settle_down, until
from tests.unit.engine.world import PIPELINE, Event, World


async def with_lost_copies(*lost: int) -> World:
    """An owner of three events of one consumer, parked; and one of another. Some have no copy and no event any more."""
    world = World([Event("a", "once"), Event("a"), Event("a"), Event("b")])
    world.flow.retry_after = 3600.0
    await world.start()
    await until(lambda: len(world.state().parked) == 3 and "synced" in world.outcomes())
    world.commit()
    await world.die()
    world.flow.retry_after = None
    world.deleted = set(lost)
    world.committed[PIPELINE.retry_topic] = 3  # the copies are gone too: read on behind them
    await start_when_they_are_due(world)
    return world


async def start_when_they_are_due(world: World) -> None:
    await world.start()
    await until(lambda: world.ownership.partitions)
    state = world.partition.journal.state
    state.parked = {offset: replace(entry, due_ms=0) for offset, entry in state.parked.items()}


async def look(world: World, rounds: int) -> None:
    for _ in range(rounds):
        await settle_down()
        world.look()
    await settle_down()


@pytest.mark.parametrize("lost", [(0,), (1,), (0, 1, 2), (2,), (0, 1, 2, 3)])
async def test_it_is_failed_without_a_value_and_the_others_run(lost: tuple[int, ...]) -> None:
    world = await with_lost_copies(*lost)
    await look(world, 4 * (LOST_AFTER_ROUNDS + 2))
    await until(lambda: not world.state().parked)
    gone = [offset for offset in lost if offset != 3]
    assert world.outcomes() == {"synced": 4 - len(gone), "failed": len(gone)}
    assert sorted(world.dead_letters()) == gone
    for letter in world.topics[PIPELINE.dlq_topic]:
        headers = dict(letter.headers)
        assert (letter.key, letter.value) == (b"a", None)
        assert headers["x-sync-value-omitted"] == b"true"
        assert headers["x-sync-reason"] == b"SYNC-COPY-LOST"
    assert len(world.topics[PIPELINE.alerts_topic]) == len(gone)
    await world.stop()


async def test_while_the_main_topic_is_not_read_nothing_counts_as_lost() -> None:
    world = await with_lost_copies()
    world.context.room.parked += world.max_parked  # nothing more may be parked, so nothing is fetched
    await look(world, 4 * (LOST_AFTER_ROUNDS + 2))
    assert world.dead_letters() == []
    world.context.room.parked -= world.max_parked
    await look(world, 3)
    await until(lambda: not world.state().parked)
    assert world.outcomes() == {"synced": 4}
    await world.stop()


@pytest.mark.parametrize("write", range(6))
async def test_a_crash_while_it_is_given_up_changes_nothing(write: int) -> None:
    world = await with_lost_copies(0)
    world.producer.dies_at = world.producer.writes + write
    for _ in range(4 * (LOST_AFTER_ROUNDS + 2)):
        await settle_down()
        if world.producer.dead.is_set():
            break
        world.look()
    await world.die()
    await start_when_they_are_due(world)
    await look(world, 4 * (LOST_AFTER_ROUNDS + 2))
    await until(lambda: not world.state().parked)
    assert world.outcomes() == {"synced": 3, "failed": 1}
    assert set(world.dead_letters()) == {0}
    await world.stop()
