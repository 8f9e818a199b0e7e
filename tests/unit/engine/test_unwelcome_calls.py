"""Refusals that may be an event's own fault or may meet every call: something else is tried before an event fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.engine import doubts
from app.engine.flow import Follows
from tests.unit.engine.world import Event, World


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "PAUSE_SECONDS", 0.0)


class Canary:
    """Gets through as every call does, and the breaker hears of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked = 0

    async def __call__(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        if not self._world.flow.nobody_is_let_in:
            self._world.breaker.succeeded()
        return not self._world.flow.nobody_is_let_in


def world_of(*events: Event) -> tuple[World, Canary]:
    world = World(events, concurrency=8, breaker_failures=20)
    world.check = canary = Canary(world)
    return world, canary


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_when_every_call_is_refused_the_events_wait_and_none_fails() -> None:
    world, _ = world_of(*(Event(f"c{number}") for number in range(40)))
    world.flow.nobody_is_let_in = True
    await world.start()
    await until(lambda: world.breaker.is_open)
    assert world.outcomes() == {}
    world.flow.nobody_is_let_in = False
    assert await world.run()
    assert world.outcomes() == {"synced": 40}
    assert {follows for _, _, follows in world.flow.told} == {Follows.WAITS_FOR_TARGET}
    assert not world.breaker.is_open
    await world.stop()


async def test_an_event_that_was_refused_just_before_the_outage_ended_is_run_again() -> None:
    world, canary = world_of(*(Event(f"c{number}") for number in range(2)))
    world.flow.nobody_is_let_in = True
    world.flow.gate = asyncio.Event()
    await world.start()
    await until(lambda: len(world.flow.effects) == 2)
    world.breaker.trip()
    world.flow.gate.set()
    await until(lambda: world.flow.told or canary.asked)
    world.flow.nobody_is_let_in = False
    assert await world.run()
    assert world.outcomes() == {"synced": 2}
    await world.stop()


async def test_an_event_whose_calls_alone_are_refused_fails_at_once_and_is_no_outage() -> None:
    world, canary = world_of(*(Event(f"c{number}", "unwelcome" if number % 4 else "ok") for number in range(40)))
    await world.start()
    assert await world.run()
    assert world.outcomes() == {"failed": 30, "synced": 10}
    assert not world.breaker.is_open
    assert canary.asked < 30, "events that are refused together share one answer"
    await world.stop()


async def test_an_event_that_is_always_refused_does_not_keep_the_breaker_open() -> None:
    world, _ = world_of(Event("alone", "unwelcome"))
    world.flow.nobody_is_let_in = True
    await world.start()
    await until(lambda: world.breaker.is_open)
    world.flow.nobody_is_let_in = False
    assert await world.run()
    assert world.outcomes() == {"failed": 1}
    assert not world.breaker.is_open
    await world.stop()
