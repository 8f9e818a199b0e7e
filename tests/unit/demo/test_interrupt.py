"""What signals do to a demo, by when they come."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from app.demo.interrupt import Interrupt, Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Hurries:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def hurry() -> Hurries:
    return Hurries()


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    """Whatever started the tests (``nohup`` ignores SIGHUP), they begin with handlers as a terminal leaves them."""
    given = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    signal.signal(signal.SIGHUP, given)


def send(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_breaks_off_what_blocks(hurry: Hurries, number: signal.Signals) -> None:
    with Interrupt(hurry) as interrupt:
        with pytest.raises(Interrupted), interrupt.raises():
            send(number)
            pytest.fail("not broken off")
        assert interrupt.received == number
        assert hurry.count == 0


def test_cleaning_up_is_not_broken_off_but_hurried(hurry: Hurries) -> None:
    with Interrupt(hurry) as interrupt:
        with pytest.raises(Interrupted), interrupt.raises():
            send()
        send()
        send(signal.SIGTERM)
        assert hurry.count == 2


def test_one_that_comes_between_is_noted_and_nothing_more_is_begun(hurry: Hurries) -> None:
    with Interrupt(hurry) as interrupt:
        send()
        assert hurry.count == 0
        with pytest.raises(Interrupted), interrupt.raises():
            pytest.fail("begun")


def test_a_task_is_cancelled_and_may_clean_up_while_more_signals_come(hurry: Hurries) -> None:
    cleaned = []

    async def work(interrupt: Interrupt) -> None:
        task = asyncio.current_task()
        assert task is not None
        with interrupt.cancels(task):
            try:
                send()
                await asyncio.sleep(30)
            finally:
                send()
                await asyncio.sleep(0)
                cleaned.append(True)

    with Interrupt(hurry) as interrupt, pytest.raises(asyncio.CancelledError):
        asyncio.run(work(interrupt))
    assert cleaned == [True]
    assert hurry.count == 1


def test_under_nohup_a_closed_terminal_is_no_signal_to_stop(hurry: Hurries) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt(hurry) as interrupt:
            send(signal.SIGHUP)
            assert interrupt.received is None
    finally:
        signal.signal(signal.SIGHUP, before)
