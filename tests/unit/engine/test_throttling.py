"""A throttled event waits where it is: it holds up nobody, uses up no attempt, and a stop does not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.engine.admission import AttemptPermit, admitted
from tests.unit.engine.world import Event, World


async def until(condition: Callable[[], object], steps: int = 20_000) -> None:
    """Let the loop run until the condition holds."""
    for _ in range(steps):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never held")


async def test_the_slot_of_a_throttled_event_is_free_while_it_waits() -> None:
    world = World([Event("a", "throttled"), *(Event(f"b{number}") for number in range(20))], concurrency=1)
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 20})
    assert world.breaker.throttle.waiting == 1
    assert world.context.slots._value == 1
    await world.stop()


async def test_it_goes_on_where_it_was_and_uses_up_no_attempt() -> None:
    world = World([Event("a", "throttled"), Event("a"), Event("b")], concurrency=1)
    world.flow.throttled_seconds = 0.01
    await world.start()
    assert await world.run()
    assert world.outcomes() == {"synced": 3}
    assert [effect for effect in world.flow.effects if effect[0] == "a"] == [("a", 0, 1), ("a", 1, 1)]
    assert world.breaker.throttle.waiting == 0
    assert world.context.slots._value == 1
    await world.stop()


async def test_a_stop_does_not_wait_for_it_and_the_next_owner_runs_it() -> None:
    world = World([Event("a", "throttled"), Event("b")])
    await world.start()
    await until(lambda: world.breaker.throttle.waiting and world.outcomes() == {"synced": 1})
    async with asyncio.timeout(2):  # far less than the drain may take, and than the call has to wait
        await world.stop()
    assert world.context.slots._value == world.concurrency
    world.flow.throttled_seconds = 0.0
    await world.start()
    assert await world.run()
    assert world.outcomes() == {"synced": 2}
    assert not world.topics.get("group.retry") or not world.state().parked
    await world.stop()


async def test_a_throttled_event_whose_lease_is_gone_makes_no_call() -> None:
    world = World([Event("a", "throttled")])
    world.flow.throttled_seconds = 0.0
    await world.start()
    world.lease.held = False
    await asyncio.sleep(0.05)
    assert world.outcomes() == {}
    world.lease.held = True
    assert await world.run()
    await world.stop()


async def test_of_a_target_that_throttles_a_few_events_begin_and_then_one_now_and_then() -> None:
    world = World(
        [Event(f"a{number}", "throttled") for number in range(30)], concurrency=20, most_throttled=5, probe_seconds=3600
    )
    await world.start()
    await until(lambda: world.breaker.throttle.waiting == 5)
    for _ in range(2_000):
        await asyncio.sleep(0)
    # Those that had a slot before the first began to wait may wait, too.
    assert 5 <= world.breaker.throttle.waiting <= 20
    assert len(world.flow.effects) < 30
    await world.stop()


async def test_events_that_are_always_throttled_do_not_keep_others_from_beginning() -> None:
    events = [*(Event(f"a{number}", "throttled") for number in range(3)), *(Event(f"b{number}") for number in range(9))]
    world = World(events, concurrency=1, most_throttled=2, probe_seconds=0.001)
    await world.start()
    async with asyncio.timeout(20):
        while world.outcomes() != {"synced": 9}:
            await asyncio.sleep(0.001)
    await world.stop()


async def test_a_target_that_throttles_holds_no_event_of_another() -> None:
    events = [Event(f"c{number}@{'ab'[number % 2]}", "throttled" if number % 2 == 0 else "ok") for number in range(200)]
    world = World(events, concurrency=2, most_throttled=2, breaker_failures=3, probe_seconds=3600)
    await world.start()
    await until(lambda: world.outcomes() == {"synced": 100})
    assert world.breakers["a"].throttle.is_crowded
    await world.stop()


async def test_one_event_that_is_never_answered_on_an_idle_system_is_given_up_and_is_no_outage() -> None:
    asked: list[int] = []

    async def gets_through() -> bool:
        asked.append(len(world.flow.effects))
        world.breaker.succeeded()
        return True

    world = World([Event("p", "unanswered")], breaker_failures=20)
    world.check = gets_through
    await world.start()
    assert await world.run()
    assert world.outcomes() == {"failed": 1}
    assert asked == [3], "before the breaker would have opened, after the last attempt"
    assert not world.breaker.is_open
    await world.stop()


@pytest.mark.parametrize("waits", [0, 1, 2])
async def test_several_calls_of_an_event_may_wait_and_it_has_one_slot_in_the_end(waits: int) -> None:
    world = World([Event("a")], concurrency=1)
    await world.start()
    assert await world.run()
    async with permit_of(world) as permit:
        await asyncio.gather(*(permit.wait(0.001 * number) for number in range(waits)))
        assert world.context.slots.locked()
    assert world.context.slots._value == 1
    await world.stop()


def permit_of(world: World) -> AttemptPermit:
    return admitted(world.context, world.partition.tasks, world.breaker)
