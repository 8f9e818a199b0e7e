"""Fewer calls at a time when there are too many, more again while all goes well."""

from __future__ import annotations

import asyncio

import pytest

from app.cmt.in_flight import InFlight


class Caller:
    """One call that stays under way until the test ends it."""

    def __init__(self, limit: InFlight) -> None:
        self.started = asyncio.Event()
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run(limit))

    async def _run(self, limit: InFlight) -> None:
        async with limit.call() as call:
            self.started.set()
            how = await self._end
            if how == "throttled":
                call.throttled()
            elif how == "well":
                call.went_well()

    async def end(self, how: str) -> None:
        self._end.set_result(how)
        await self.task


async def under_way(limit: InFlight, number: int) -> list[Caller]:
    callers = [Caller(limit) for _ in range(number)]
    for _ in range(3):
        await asyncio.sleep(0)
    return callers


def started(callers: list[Caller]) -> int:
    return sum(caller.started.is_set() for caller in callers)


async def test_no_more_calls_than_the_most_are_under_way_and_the_next_starts_when_one_ends() -> None:
    callers = await under_way(InFlight(3), 5)
    assert started(callers) == 3
    await callers[1].end("well")
    await asyncio.sleep(0)
    assert [caller.started.is_set() for caller in callers] == [True, True, True, True, False]
    for caller in (callers[0], callers[2], callers[3], callers[4]):
        await caller.end("well")


async def test_a_throttled_call_halves_the_limit_once_for_all_that_were_sent_with_it() -> None:
    limit = InFlight(16)
    callers = await under_way(limit, 16)
    for caller in callers[:10]:
        await caller.end("throttled")
    assert limit.limit == 8
    for caller in callers[10:]:
        await caller.end("other")
    # Sent after the halving: its answer says that half is too much too. Only one was under way.
    (late,) = await under_way(limit, 1)
    await late.end("throttled")
    assert limit.limit == 1


async def test_the_limit_never_falls_below_one() -> None:
    limit = InFlight(2)
    for _ in range(5):
        (caller,) = await under_way(limit, 1)
        await caller.end("throttled")
    assert limit.limit == 1
    (caller,) = await under_way(limit, 1)
    assert caller.started.is_set()
    await caller.end("well")


async def test_good_answers_let_it_grow_by_one_a_round_up_to_the_most() -> None:
    limit = InFlight(4)
    for caller in await under_way(limit, 4):
        await caller.end("throttled")
    assert limit.limit == 2
    grown = []
    for _ in range(12):
        (caller,) = await under_way(limit, 1)
        await caller.end("well")
        grown.append(limit.limit)
    assert grown[0] == 2
    assert grown[2] == 3
    assert grown[-1] == 4


async def test_a_smaller_limit_holds_for_those_that_wait() -> None:
    limit = InFlight(4)
    callers = await under_way(limit, 8)
    await callers[0].end("throttled")
    await callers[1].end("other")
    await asyncio.sleep(0)
    assert started(callers) == 4, "two are still under way, and two is the limit"
    await callers[2].end("other")
    await asyncio.sleep(0)
    assert started(callers) == 5
    for caller in callers[3:]:
        await caller.end("other")


@pytest.mark.parametrize("woken", [False, True])
async def test_a_caller_that_is_cancelled_while_it_waits_takes_no_place(woken: bool) -> None:
    limit = InFlight(1)
    first, second, third = await under_way(limit, 3)
    if woken:  # its turn has come, but it has not noticed yet
        first._end.set_result("well")
        while limit._running == 1 and limit._waiting and not limit._waiting[0].done() and len(limit._waiting) == 2:
            await asyncio.sleep(0)
    second.task.cancel()
    await asyncio.wait([second.task])
    if not woken:
        await first.end("well")
    await asyncio.wait_for(third.started.wait(), 1)
    assert not second.started.is_set()
    await third.end("well")
    assert limit._running == 0


async def test_the_room_of_a_call_that_is_over_is_free_before_its_block_ends() -> None:
    limit = InFlight(1)
    async with limit.call() as call:
        (other,) = await under_way(limit, 1)
        assert not other.started.is_set()
        call.over()
        await asyncio.wait_for(other.started.wait(), 1)
        call.went_well()
    assert limit._running == 1, "the other one's"
    await other.end("well")
    assert limit._running == 0


async def test_a_throttled_call_counts_as_under_way_also_when_its_room_is_free_already() -> None:
    limit = InFlight(8)
    others = await under_way(limit, 3)
    async with limit.call() as call:
        call.over()
        call.throttled()
    assert limit.limit == 2
    for other in others:
        await other.end("other")
