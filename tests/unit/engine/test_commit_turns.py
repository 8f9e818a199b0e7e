"""Turns: who waits, for whom, and that nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from app.engine.commit_turns import AT_A_TIME, ENOUGH, Turn, Turns

HOUR = 3600.0


async def steps(count: int = 5) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def busy(turns: Turns) -> list[Turn]:
    """As many commits under way as there may be."""
    writing = [Turn(turns) for _ in range(AT_A_TIME)]
    for turn in writing:
        await asyncio.wait_for(turn.begin(1), 1.0)
    return writing


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait ends by itself."""
    monkeypatch.setattr("app.engine.commit_turns.WAIT_SECONDS", HOUR)


@pytest.mark.usefixtures("patient")
async def test_those_who_wait_come_one_by_one_in_their_order() -> None:
    turns = Turns()
    writing = await busy(turns)
    came: list[int] = []

    async def commit(number: int) -> None:
        turn = Turn(turns)
        await turn.begin(1)
        came.append(number)

    waiting = [asyncio.create_task(commit(number)) for number in range(2)]
    await steps()
    assert came == []
    writing[0].end()
    await steps()
    assert came == [0]
    writing[1].end()
    await asyncio.gather(*waiting)
    assert came == [0, 1]


@pytest.mark.usefixtures("patient")
async def test_two_that_end_at_the_same_moment_let_two_go() -> None:
    turns = Turns()
    writing = await busy(turns)
    waiting = [asyncio.create_task(Turn(turns).begin(1)) for _ in range(2)]
    await steps()
    for turn in writing[:2]:
        turn.end()
    await asyncio.wait_for(asyncio.gather(*waiting), 5.0)


@pytest.mark.usefixtures("patient")
async def test_enough_changes_do_not_wait() -> None:
    turns = Turns()
    await busy(turns)
    await asyncio.wait_for(Turn(turns).begin(ENOUGH), 1.0)


@pytest.mark.usefixtures("patient")
async def test_who_has_grown_enough_while_waiting_goes_and_takes_nobody_elses_turn() -> None:
    turns = Turns()
    writing = await busy(turns)
    growing, small = Turn(turns), Turn(turns)
    first, second = asyncio.create_task(growing.begin(1)), asyncio.create_task(small.begin(1))
    await steps()
    growing.grown(ENOUGH - 1)
    await steps()
    assert not first.done()
    growing.grown(ENOUGH)
    await first
    writing[0].end()
    await asyncio.wait_for(second, 1.0)


async def test_a_wait_ends_although_nobody_ends_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.commit_turns.WAIT_SECONDS", 0.001)
    turns = Turns()
    await busy(turns)
    for _ in range(3):
        await asyncio.wait_for(Turn(turns).begin(1), 10.0)
    assert not turns._waiting


@pytest.mark.usefixtures("patient")
async def test_who_is_cancelled_while_waiting_is_not_in_the_way() -> None:
    turns = Turns()
    writing = await busy(turns)
    gone, other = (asyncio.create_task(Turn(turns).begin(1)) for _ in range(2))
    await steps()
    gone.cancel()
    await asyncio.wait([gone])
    writing[0].end()
    await asyncio.wait_for(other, 1.0)
    assert not turns._waiting


@pytest.mark.usefixtures("patient")
async def test_alone_nobody_waits() -> None:
    turn = Turn(Turns())
    for _ in range(10 * AT_A_TIME):
        await asyncio.wait_for(turn.begin(1), 1.0)
        turn.end()
