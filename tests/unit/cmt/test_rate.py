"""Calls keep to the rate."""

from __future__ import annotations

import asyncio

from app.cmt.rate import RateLimit


class Clock:
    """Time that passes only while somebody sleeps alone."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_calls_start_evenly_spaced() -> None:
    clock = Clock()
    rate = RateLimit(4.0, clock=clock, sleep=clock.sleep)
    starts = []
    for _ in range(5):
        await rate.turn()
        starts.append(clock.now - 100.0)
    assert starts == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_a_pause_is_not_saved_up_for_a_burst() -> None:
    clock = Clock()
    rate = RateLimit(4.0, clock=clock, sleep=clock.sleep)
    await rate.turn()
    clock.now += 60
    before = clock.now
    for _ in range(3):
        await rate.turn()
    assert clock.now - before == 0.5


async def test_first_come_first_served() -> None:
    waits: list[tuple[int, float]] = []

    async def one(number: int, rate: RateLimit) -> None:
        await rate.turn()

    async def sleep(seconds: float) -> None:
        waits.append((len(waits), seconds))

    rate = RateLimit(10.0, clock=lambda: 0.0, sleep=sleep)
    await asyncio.gather(*(one(number, rate) for number in range(4)))
    assert [round(seconds, 6) for _, seconds in waits] == [0.1, 0.2, 0.3]


async def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    rate = RateLimit(None, clock=clock, sleep=clock.sleep)
    for _ in range(1000):
        await rate.turn()
    assert clock.now == 100.0


async def test_while_throttled_fewer_calls_start_and_all_of_them_again_when_it_goes_well() -> None:
    clock = Clock()
    rate = RateLimit(10.0, clock=clock, sleep=clock.sleep)
    rate.throttled()
    began = clock.now
    for _ in range(11):
        await rate.turn()
    assert round(clock.now - began, 6) == 2.0
    for _ in range(20):
        rate.throttled()
    assert rate.share == 0.25, "never none"
    for _ in range(10 * 20):
        rate.went_well()
    assert rate.share == 1.0
