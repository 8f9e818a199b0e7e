"""Given-up events whose dead letters the last owner could not write: they take room, and must not stop the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.delivery.consumer_record import ConsumerState
from app.engine.flow import Permit, Result, Work
from tests.unit.engine.world import PIPELINE, Event, ScriptedFlow, World


class HoldingFlow(ScriptedFlow):
    """Attempts that ``holds`` names do not end."""

    def __init__(self, holds: Callable[[int, int], bool]) -> None:
        super().__init__()
        self.holds = holds

    async def run(self, work: Work, *, attempt: int, last: bool, state: ConsumerState | None, permit: Permit) -> Result:
        if self.holds(work.record.offset, attempt):
            await asyncio.Event().wait()
        return await super().run(work, attempt=attempt, last=last, state=state, permit=permit)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition holds."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


async def live_without_dead_letters(
    world: World, holds: Callable[[int, int], bool], reached: Callable[[], bool]
) -> None:
    """A first life in which the dead-letter topic takes no writes."""
    world.flow = HoldingFlow(holds)
    await world.start()
    world.producer.closed_topics = {PIPELINE.dlq_topic}
    await until(reached)


async def test_a_verdict_is_buried_though_the_record_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.record_room.GIVEN_UP_BYTES", 1)
    world = World([*(Event(f"p{number}", "never") for number in range(4)), Event("v", "refused")])
    await live_without_dead_letters(
        world,
        lambda offset, attempt: attempt >= 2,
        lambda: 4 in world.state().verdicts and len(world.state().parked) == 4,
    )
    # The record was not full before the last event was given up.
    monkeypatch.setattr("app.engine.holds.PARKED_BYTES", world.partition.record_room.bytes - 10)
    world.commit()
    await world.die()
    world.flow = ScriptedFlow()
    await world.start()
    assert await world.run(looking=True)
    await world.stop()


async def test_a_verdict_is_buried_though_there_is_less_room_than_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.record_room.GIVEN_UP_BYTES", 1)
    world = World([*(Event(f"a{number}", "refused") for number in range(5)), Event("v", "refused")], concurrency=8)
    await live_without_dead_letters(world, lambda offset, attempt: offset < 5, lambda: 5 in world.state().verdicts)
    await world.die()
    world.flow, world.concurrency = ScriptedFlow(), 1
    await world.start()
    assert await world.run(looking=True)
    await world.stop()
