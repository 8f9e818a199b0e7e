"""Spaces calls in time: at most ``CMT_RATE_PER_SECOND`` start in a second, and fewer while throttled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

# The smallest share of the rate, however often an account is throttled.
LEAST_SHARE = 0.25
# Good answers at the full rate raise the share from 0 to 1 in this many seconds.
RECOVERY_SECONDS = 20.0


class RateLimit:
    """Evenly spaced starts, first come first served, no bursts: the vendor throttles spikes, not averages.

    A caller that is cancelled while it waits leaves its turn unused.
    """

    def __init__(
        self,
        per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval = 1.0 / per_second if per_second else 0.0
        self._share = 1.0
        self._clock = clock
        self._sleep = sleep
        self._next = float("-inf")

    async def turn(self) -> None:
        """Return when the next call may start."""
        if not self._interval:
            return
        now = self._clock()
        start = max(now, self._next)
        self._next = start + self._interval / self._share
        if start > now:
            await self._sleep(start - now)

    @property
    def share(self) -> float:
        """The share of the rate that is used at present."""
        return self._share

    def throttled(self) -> None:
        """The account is throttled: halve the rate."""
        self._share = max(LEAST_SHARE, self._share / 2)

    def went_well(self) -> None:
        """A call got through: raise the rate a little."""
        if self._share < 1.0:
            self._share = min(1.0, self._share + self._interval / RECOVERY_SECONDS)
