"""Whether something else gets through: asked seldom, and never answered with what was true before."""

from __future__ import annotations

import asyncio

import pytest

from app.engine import doubts
from app.engine.doubts import Doubts


class Check:
    """A call that ends when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.answers: asyncio.Queue[bool] = asyncio.Queue()

    async def __call__(self) -> bool:
        self.begun += 1
        return await self.answers.get()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def asked(many: Doubts, times: int = 1) -> list[asyncio.Task[bool]]:
    return [asyncio.create_task(many.something_else_gets_through()) for _ in range(times)]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "PAUSE_SECONDS", 0.0)


async def test_all_that_wait_share_one_check() -> None:
    check = Check()
    waiting = asked(Doubts(check), 100)
    check.answers.put_nowait(True)
    assert await asyncio.gather(*waiting) == [True] * 100
    assert check.begun == 1


async def test_a_check_that_began_before_the_refusal_is_no_answer_to_it() -> None:
    check = Check()
    many = Doubts(check)
    (before,) = asked(many)
    await turns()
    during = asked(many, 3)
    await turns()
    check.answers.put_nowait(True)
    assert await before
    await turns()
    assert (check.begun, any(task.done() for task in during)) == (2, False)
    check.answers.put_nowait(False)
    assert await asyncio.gather(*during) == [False] * 3


async def test_between_two_checks_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "PAUSE_SECONDS", 3600.0)
    now = 100.0
    check = Check()
    many = Doubts(check, clock=lambda: now)
    check.answers.put_nowait(True)
    assert await many.something_else_gets_through()
    waiting = asked(many, 5)
    await turns()
    assert check.begun == 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    now += 3600.0
    check.answers.put_nowait(False)
    assert await many.something_else_gets_through() is False
    assert check.begun == 2


async def test_whoever_waits_asks_when_the_one_who_asked_is_gone() -> None:
    check = Check()
    many = Doubts(check)
    first, second, third = asked(many, 3)
    await turns()
    first.cancel()
    await turns()
    assert check.begun == 2
    check.answers.put_nowait(True)
    assert await asyncio.gather(second, third) == [True, True]


async def test_a_check_that_fails_fails_the_one_who_asked_and_the_next_asks_again() -> None:
    check = Check()
    failing = [True]

    async def fails_once() -> bool:
        if failing.pop() if failing else False:
            raise RuntimeError("a bug")
        return await check()

    many = Doubts(fails_once)
    first, second = asked(many, 2)
    check.answers.put_nowait(True)
    with pytest.raises(RuntimeError):
        await first
    assert await second
