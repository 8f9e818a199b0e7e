"""Limits how many calls may be in flight: fewer while Marketing Cloud throttles, more again while calls succeed.

Additive increase, multiplicative decrease, as in TCP's congestion avoidance (RFC 5681, 3.1). A throttled answer halves
the limit, unless its call was sent before the last halving: it says nothing about the new limit. A good answer raises
the limit a little: as many good answers as the limit add one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self


class InFlight:
    """An adaptive limit, first come first served. Enter ``async with limit.call() as call``, then say how it went.

    Args:
        most: the limit while nothing is throttled.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = float(most)
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._halvings = 0
        self._answered = 0

    @property
    def answered(self) -> int:
        """Good answers until now."""
        return self._answered

    @property
    def limit(self) -> float:
        """How many calls may be in flight now, as a whole number."""
        return float(int(self._limit))

    def call(self) -> _CallInFlight:
        """Room for one call, held for the length of an ``async with`` block."""
        return _CallInFlight(self)

    async def _enter(self) -> int:
        if self._waiting or self._running >= int(self._limit):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn  # ``_wake`` has counted this call
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()
                raise
        else:
            self._running += 1
        return self._halvings

    def _leave(self) -> None:
        self._running -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._running < int(self._limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self._running += 1
                turn.set_result(None)

    def _throttled(self, sent_after: int, *, over: bool) -> bool:
        if sent_after != self._halvings:
            return False
        self._halvings += 1
        # Half of the calls that were really in flight: to halve a limit that is not reached would have no effect.
        self._limit = max(1.0, min(self._limit, float(self._running + over)) / 2)
        return True

    def _went_well(self) -> None:
        self._answered += 1
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._wake()


class _CallInFlight:
    def __init__(self, limit: InFlight) -> None:
        self._limit = limit
        self._sent_after = 0
        self._over = False

    async def __aenter__(self) -> Self:
        self._sent_after = await self._limit._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._over:
            self._limit._leave()

    def over(self) -> None:
        """The call is over, although its block goes on: its room is free at once."""
        self._over = True
        self._limit._leave()

    def throttled(self) -> bool:
        """The call was throttled. True if that lowers the limit: the call was sent after the last halving."""
        return self._limit._throttled(self._sent_after, over=self._over)

    def went_well(self) -> None:
        """The call got a good answer."""
        self._limit._went_well()
