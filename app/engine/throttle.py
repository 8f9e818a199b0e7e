"""Events of one target that have begun and wait, because the target asked for fewer calls.

They hold no slot, so others may begin meanwhile. Without a bound, all events that were taken would begin. With a bound,
events that are always throttled could keep all others from beginning, and so from showing that they get through.
Therefore one more event begins now and then. Used from the event loop's thread only.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable


class Throttle:
    """How many events of a target wait where they are.

    Args:
        most: while this many wait, another event of the target begins only every ``seconds``.
        clock: monotonic seconds.
    """

    def __init__(self, most: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._next = 0.0
        self._room = asyncio.Event()
        self._room.set()
        self.waiting = 0

    @property
    def is_crowded(self) -> bool:
        """Whether the limit of waiting events is reached: then hardly another event may start."""
        return self.waiting >= self._most

    def enter(self) -> None:
        """An event begins to wait."""
        self.waiting += 1
        if self.waiting == self._most:
            self._next = self._clock() + self._seconds
            self._room.clear()

    def leave(self) -> None:
        """An event no longer waits."""
        self.waiting -= 1
        if not self.is_crowded:
            self._room.set()

    async def room(self) -> None:
        """Return when an event may begin."""
        while self.is_crowded:
            now = self._clock()
            if now >= self._next:
                self._next = now + self._seconds
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), self._next - now)
