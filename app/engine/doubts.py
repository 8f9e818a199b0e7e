"""One question for many refused events: does something else get through?

An event was refused, and the refusal may be its own fault or may meet every call. Only a check that began after the
refusal can tell: an older answer says nothing about an outage that began since. All events that wait share the next
check, so thousands of refused events cost one check a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

# From the end of one check to the beginning of the next: the longest that a refused event waits for its check to begin.
PAUSE_SECONDS = 1.0


class Doubts:
    """Makes one check at a time, for all events that wait.

    Args:
        check: makes a call that has nothing to do with any event, and says whether it got through.
        clock: monotonic seconds.
    """

    def __init__(self, check: Callable[[], Awaitable[bool]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._clock = clock
        self._turn = asyncio.Lock()
        self._begun = self._answered = 0  # the number of the last check that began, and of the last one that ended
        self._answer = False
        self._not_before = float("-inf")

    async def something_else_gets_through(self) -> bool:
        """The answer to a check that began after this was called."""
        asked = self._begun
        async with self._turn:
            if self._answered <= asked:
                await asyncio.sleep(max(0.0, self._not_before - self._clock()))
                number = self._begun = self._begun + 1
                self._answer = await self._check()
                self._answered = number
                self._not_before = self._clock() + PAUSE_SECONDS
            return self._answer
