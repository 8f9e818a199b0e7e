"""The circuit breaker: when it opens, who may probe, when it closes."""

from __future__ import annotations

import asyncio

import pytest

from app.engine.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, *, threshold: int = 3, probe_seconds: float = 5.0) -> Breaker:
    breaker = Breaker(threshold, probe_seconds, clock=clock)
    for _ in range(threshold):
        breaker.failed()
    return breaker


def test_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker(3, 5.0, clock=Clock())
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open


def test_an_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(3, 5.0, clock=Clock())
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert not breaker.is_open


def test_threshold_zero_never_opens() -> None:
    breaker = Breaker(0, 5.0, clock=Clock())
    for _ in range(1000):
        breaker.failed()
    assert not breaker.is_open


def test_one_probe_for_each_interval() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert not breaker.may_probe()
    clock.now += 5.0
    assert breaker.may_probe()
    assert not breaker.may_probe()
    breaker.failed()
    clock.now += 4.9
    assert not breaker.may_probe()
    clock.now += 0.1
    assert breaker.may_probe()


def test_a_target_that_has_blocked_its_caller_is_asked_more_and_more_rarely() -> None:
    clock = Clock()
    breaker = opened(clock, probe_seconds=5.0)
    breaker.probe_rarely(True)
    waits = []
    for _ in range(9):
        waited = 0.0
        while not breaker.may_probe():
            clock.now += 1.0
            waited += 1.0
        waits.append(waited)
        breaker.failed()
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    breaker.succeeded()
    breaker.trip()
    clock.now += 5.0
    assert breaker.may_probe(), "the next outage is another one"


def test_an_answer_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 7.0
    assert breaker.open_seconds == 7.0
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.open_seconds == 0.0


async def test_everybody_who_waits_goes_on_when_it_closes() -> None:
    breaker = opened(Clock(), probe_seconds=60.0)
    waiting = [asyncio.create_task(breaker.pass_or_probe()) for _ in range(5)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    breaker.succeeded()
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [False] * 5


async def test_of_those_who_wait_one_becomes_the_probe() -> None:
    breaker = Breaker(1, 0.05)
    breaker.failed()
    waiting = {asyncio.create_task(breaker.pass_or_probe()) for _ in range(5)}
    done, pending = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [True]
    breaker.succeeded()
    assert await asyncio.wait_for(asyncio.gather(*pending), 5) == [False] * 4


@pytest.mark.parametrize("threshold", [0, 1, 20])
async def test_a_closed_breaker_lets_everybody_pass_at_once(threshold: int) -> None:
    assert await Breaker(threshold, 5.0).pass_or_probe() is False


# Failures of one event


class Canary:
    """A call that has nothing to do with any event."""

    def __init__(self, gets_through: bool) -> None:
        self.gets_through = gets_through
        self.asked = 0

    async def __call__(self) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        return self.gets_through


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("gets_through", [True, False])
async def test_failures_of_one_consumer_open_it_only_if_nothing_else_gets_through(gets_through: bool) -> None:
    canary = Canary(gets_through)
    breaker = Breaker(3, 5.0, check=canary)
    for _ in range(4):
        breaker.failed()
        breaker.event_failed("anna")
    assert not breaker.is_open
    await settle()
    assert canary.asked == 1
    assert breaker.is_open is not gets_through


@pytest.mark.parametrize("gets_through", [True, False])
async def test_an_event_that_is_about_to_be_given_up_makes_an_outage_only_if_nothing_else_gets_through(
    gets_through: bool,
) -> None:
    canary = Canary(gets_through)
    breaker = Breaker(20, 5.0, check=canary)
    breaker.failed()
    breaker.event_failed("anna")
    await asyncio.gather(*(breaker.confirm() for _ in range(5)))
    assert canary.asked == 1
    assert breaker.is_open is not gets_through


async def test_when_events_of_several_consumers_fail_nobody_is_asked() -> None:
    canary = Canary(True)
    breaker = Breaker(3, 5.0, check=canary)
    for consumer in ("anna", "berta", "clara"):
        breaker.failed()
        breaker.event_failed(consumer)
    assert breaker.is_open
    assert canary.asked == 0


@pytest.mark.parametrize("gets_through", [True, False])
async def test_refusals_open_it_only_if_nothing_else_gets_through_however_many_consumers_they_meet(
    gets_through: bool,
) -> None:
    canary = Canary(gets_through)
    breaker = Breaker(20, 5.0, check=canary)
    await asyncio.gather(*(breaker.refused() for _ in range(40)))
    assert canary.asked == 1
    assert breaker.is_open is not gets_through


async def test_a_refusal_while_it_is_open_has_the_target_asked_too() -> None:
    canary = Canary(True)
    breaker = Breaker(20, 5.0, check=canary)
    breaker.trip()
    await breaker.refused()
    assert canary.asked == 1, "with one event alone, that is always refused, it would never close"


async def test_a_breaker_that_never_opens_asks_nothing_about_refusals() -> None:
    canary = Canary(False)
    breaker = Breaker(0, 5.0, check=canary)
    await breaker.refused()
    assert (canary.asked, breaker.is_open) == (0, False)


async def test_an_answer_clears_who_was_suspected() -> None:
    breaker = Breaker(3, 5.0, check=Canary(True))
    for consumer in ("anna", "berta", "clara"):
        breaker.failed()
        breaker.event_failed(consumer)
        breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    assert not breaker.is_open


def test_trouble_is_counted_from_the_first_failure_since_the_last_answer() -> None:
    clock = Clock()
    breaker = Breaker(3, 5.0, clock=clock)
    breaker.failed()
    breaker.succeeded()
    assert breaker.failing_since is None
    for _ in range(5):
        breaker.failed()
        clock.now += 1
    assert breaker.failing_since == 100.0
