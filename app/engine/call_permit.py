"""The right of one event to make calls, and its slot, which it gives back while it waits for the target."""

from __future__ import annotations

import asyncio

from app.engine.breaker import Breaker
from app.engine.partition_tasks import PartitionTasks


class CallPermit:
    """The permit of one attempt; it begins with a slot. ``end`` gives the slot back, whatever happened.

    Several calls of an event may be under way at once, and several may wait. The event has no slot while any of them
    waits; the others go on, as so few extra calls do no harm.
    """

    __slots__ = ("_breaker", "_has_slot", "_probe", "_returning", "_slots", "_tasks", "_waiting")

    def __init__(self, tasks: PartitionTasks, breaker: Breaker, slots: asyncio.Semaphore, *, probe: bool) -> None:
        self._tasks = tasks
        self._breaker = breaker
        self._slots = slots
        self._probe = probe
        self._has_slot = True
        self._waiting = 0
        self._returning: asyncio.Lock | None = None

    def __call__(self) -> None:
        """Whether a call may go out now; raises ``LeaseLost`` or ``TargetDown``."""
        self._tasks.check(self._breaker, self._probe)

    async def wait(self, seconds: float) -> None:
        """Wait without a slot, then take one. A drain ends the wait at once: the next owner runs the event again."""
        with self._tasks.not_started():
            self._begin_to_wait()
            try:
                await asyncio.sleep(seconds)
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._breaker.throttle.leave()
            if not self._waiting:
                await self._take_slot()
            await self._tasks.until_lease()

    def end(self) -> None:
        """The attempt is over."""
        if self._has_slot:
            self._has_slot = False
            self._slots.release()

    def _begin_to_wait(self) -> None:
        self._waiting += 1
        if self._waiting == 1:
            self._breaker.throttle.enter()
            self.end()

    async def _take_slot(self) -> None:
        self._returning = self._returning or asyncio.Lock()
        async with self._returning:
            if not self._has_slot:
                await self._slots.acquire()
                self._has_slot = True
