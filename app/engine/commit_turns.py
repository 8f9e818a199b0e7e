"""When a partition's next group commit may go out: small ones take turns.

A commit costs worker and broker about the same whatever it holds. With slow calls spread over many partitions each
would hold an event or two; so a small one waits for its turn, and grows meanwhile. Nothing but speed depends on this: a
turn is worth a short wait only, so partitions whose broker is away keep nobody else from writing.
"""

from __future__ import annotations

import asyncio

# Commits of a worker under way while a small one waits: the broker has one, the worker prepares the other.
AT_A_TIME = 2
# So many changes are worth a commit of their own.
ENOUGH = 12
# The longest wait, in seconds: a few commits of a broker that is not next door.
WAIT_SECONDS = 0.05


class Turns:
    """The commits of a worker that are under way, and the partitions that wait, first come first served."""

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: dict[asyncio.Future[None], None] = {}


class Turn:
    """One partition's part in it. ``begin``, write, ``end``, one after the other."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waiting: asyncio.Future[None] | None = None

    async def begin(self, changes: int) -> None:
        """Return when a commit may go out that would hold so many changes."""
        turns = self._turns
        if turns._under_way >= AT_A_TIME and changes < ENOUGH:
            await self._wait()
        turns._under_way += 1

    def grown(self, changes: int) -> None:
        """The next commit would hold so many changes by now: it need not wait any longer if they are enough."""
        if self._waiting is not None and changes >= ENOUGH:
            _come(self._waiting)

    def end(self) -> None:
        """What ``begin`` let out is over, for good or ill."""
        turns = self._turns
        turns._under_way -= 1
        if (first := next(iter(turns._waiting), None)) is not None:
            del turns._waiting[first]
            _come(first)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = waiting = loop.create_future()
        self._turns._waiting[waiting] = None
        longest = loop.call_later(WAIT_SECONDS, _come, waiting)
        try:
            await waiting
        finally:
            longest.cancel()
            self._waiting = None
            self._turns._waiting.pop(waiting, None)


def _come(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
