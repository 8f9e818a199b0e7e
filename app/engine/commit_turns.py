"""When a partition may write its next group commit: small commits take turns.

A commit costs worker and broker about the same, whatever it holds. When calls are slow and spread over many partitions,
each commit would hold an event or two. So a small one waits for its turn, and grows meanwhile. Only speed depends on
this, so the wait is short: partitions whose broker is away do not keep others from writing.
"""

from __future__ import annotations

import asyncio

# While this many commits of a worker are under way, a small one waits: the broker has one, the worker prepares another.
AT_A_TIME = 2
# This many changes are worth a commit of their own.
ENOUGH = 12
# The longest wait, in seconds: a few commits of a broker that is not next door.
WAIT_SECONDS = 0.05


class Turns:
    """The commits of a worker that are under way, and the partitions that wait, first come first served."""

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: dict[asyncio.Future[None], None] = {}


class Turn:
    """One partition's place among them. For each commit: ``begin``, write, ``end``."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waiting: asyncio.Future[None] | None = None

    async def begin(self, changes: int) -> None:
        """Return when a commit of this many changes may be written."""
        turns = self._turns
        if turns._under_way >= AT_A_TIME and changes < ENOUGH:
            await self._wait()
        turns._under_way += 1

    def grown(self, changes: int) -> None:
        """The next commit would hold this many changes by now: if they are enough, it waits no longer."""
        if self._waiting is not None and changes >= ENOUGH:
            _come(self._waiting)

    def end(self) -> None:
        """The commit that ``begin`` let through is over, whether or not it was written."""
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
