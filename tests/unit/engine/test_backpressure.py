"""Back-pressure."""

from __future__ import annotations

import asyncio

from app.engine.backpressure import Room


async def is_free(room: Room) -> bool:
    try:
        await asyncio.wait_for(room.free(), 0.01)
    except TimeoutError:
        return False
    return True


async def test_a_full_room_lets_nobody_in_until_somebody_leaves() -> None:
    room = Room(2, 9)
    room.enter()
    assert await is_free(room)
    room.enter()
    assert not await is_free(room)
    room.leave()
    assert await is_free(room)


async def test_waiting_ends_when_the_room_is_cleared() -> None:
    room = Room(1, 9)
    room.enter()
    waiting = asyncio.create_task(room.free())
    await asyncio.sleep(0)
    room.clear()
    await waiting
    room.enter()
    assert not await is_free(room)
