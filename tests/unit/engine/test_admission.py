"""What an attempt needs before it begins, and what it leaves when it ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.engine.admission import AttemptPermit, admitted
from app.engine.breaker import Breaker, TargetDown
from app.engine.lease import LeaseLost
from app.engine.partition_tasks import Abandoned
from tests.unit.engine.world import Event, World


@pytest.fixture
async def world() -> World:
    """An owner that has nothing to do, with one slot."""
    world = World([Event("a")], concurrency=1, breaker_failures=1, probe_seconds=0.001)
    await world.start()
    assert await world.run()
    return world


def of(world: World, gate: Breaker | None = None) -> AttemptPermit:
    return admitted(world.context, world.partition.tasks, world.breaker, gate)


def free_slots(world: World) -> int:
    return world.context.slots._value


async def test_an_attempt_holds_a_slot_and_gives_it_back_whatever_happens(world: World) -> None:
    with pytest.raises(ValueError, match="a bug"):
        async with of(world):
            assert (free_slots(world), world.context.in_flight) == (0, 1)
            raise ValueError("a bug")
    assert (free_slots(world), world.context.in_flight) == (1, 0)


async def test_who_is_cancelled_while_waiting_holds_nothing(world: World) -> None:
    async def attempt() -> None:
        async with of(world):
            pytest.fail("it began")

    world.lease.held = False
    waiting = asyncio.create_task(attempt())
    await asyncio.sleep(0.01)
    assert free_slots(world) == 0, "it has the slot and waits for the lease"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (free_slots(world), world.context.in_flight) == (1, 0)


async def test_an_attempt_does_not_begin_in_a_drain(world: World) -> None:
    world.partition.stop_taking()
    with pytest.raises(Abandoned):
        async with of(world):
            pytest.fail("it began")


async def test_no_call_goes_out_without_a_lease_or_to_a_target_that_went_down(world: World) -> None:
    async with of(world) as permit:
        permit()
        world.lease.held = False
        with pytest.raises(LeaseLost):
            permit()
        world.lease.held = True
        world.breaker.trip()
        with pytest.raises(TargetDown):
            permit()


async def test_the_probe_of_an_open_breaker_and_of_a_gate_may_call(world: World) -> None:
    gate = Breaker(1, 0.001)
    gate.trip()
    world.breaker.trip()
    async with of(world, gate) as permit:
        permit()


async def test_what_may_land_late_is_waited_for_and_the_longest_counts(world: World) -> None:
    async with of(world) as permit:
        permit.may_land_late(0.05)
        permit.may_land_late(0.01)
    began = time.monotonic()
    await permit.until_nothing_lands_late()
    assert time.monotonic() - began >= 0.05
    assert free_slots(world) == 1
