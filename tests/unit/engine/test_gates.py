"""Events that need a right that is missing wait, parked and without an attempt; all others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.engine.gates import Gates
from tests.unit.engine.world import Event, World


async def until(condition: Callable[[], object], steps: int = 20_000) -> None:
    """Let the loop run until the condition holds."""
    for step in range(steps):
        if condition():
            return
        await asyncio.sleep(0 if step % 50 else 0.0001)
    raise AssertionError("the condition never held")


def mixed(count: int) -> list[Event]:
    return [Event(f"c{number}", "needs" if number % 2 else "ok") for number in range(count)]


async def test_they_are_parked_without_an_attempt_and_others_go_on() -> None:
    world = World([*mixed(60), Event("c1"), Event("c0", "needs")], probe_seconds=3600)
    world.flow.right_is_there = False
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 30} and len(world.state().parked) == 32)
    assert {entry.attempts for entry in world.state().parked.values()} == {0}
    tried = {offset for _, offset, _ in world.flow.effects if world.events[offset].script == "needs"}
    assert len(tried) <= world.concurrency, "the others did not even try"
    assert not world.dead_letters()
    await world.stop()


async def test_one_is_let_through_now_and_then_and_all_of_them_when_it_gets_through() -> None:
    world = World([*mixed(40), Event("c1")], probe_seconds=0.001)
    world.flow.right_is_there = False
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 20} and len(world.flow.effects) > 40)
    assert world.context.gates
    world.flow.right_is_there = True
    assert await world.run()
    assert world.outcomes() == {"synced": 41}
    assert not world.context.gates
    assert {attempt for _, _, attempt in world.flow.effects} == {1}
    assert world.order_of("c1") == [1, 40]
    await world.stop()


async def test_a_crash_meanwhile_loses_nothing() -> None:
    world = World(mixed(20), probe_seconds=0.001)
    world.flow.right_is_there = False
    await world.start()
    await until(lambda: len(world.state().parked) == 10)
    await world.die()
    world.flow.right_is_there = True
    await world.start()
    assert await world.run()
    assert world.outcomes() == {"synced": 20}
    await world.stop()


async def test_a_stop_ends_the_wait() -> None:
    world = World([Event("a", "needs")], probe_seconds=3600)
    world.flow.right_is_there = False
    await world.start()
    await until(lambda: len(world.state().parked) == 1)
    async with asyncio.timeout(2):
        await world.stop()


def test_the_gates_of_a_target_are_shut_since_the_first_of_them() -> None:
    now = [100.0]
    gates = Gates(5.0, clock=lambda: now[0])
    assert not gates
    gates.shut("a", "UPDATE")
    now[0] += 10
    gates.shut("a", "DELETE")
    gates.shut("a", "UPDATE")
    assert (gates.shut_since("a"), gates.shut_since("b")) == (100.0, None)
    gates.reopen("a", "UPDATE")
    assert gates.shut_since("a") == 110.0
    gates.reopen("a", "DELETE")
    assert not gates
