"""What an attempt needs before it may begin, and gives back when it ends.

An attempt begins when all of this is true:

1. The *gate* of events of its kind is open, or this event is let through to try it (``gates.py``).
2. Few enough events of the target wait because it throttles them (``throttle.py``).
3. The target's *breaker* is closed, or this event is the probe (``breaker.py``).
4. A *slot* is free: the number of events that are worked on at a time is limited.
5. The *lease* holds: this worker still owns the partition (``lease.py``).

The permit stands for all of it. Every call of the event asks it first. It gives the slot back when the attempt ends,
however it ends, and it knows for how long a write that was given up may still land.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from app.engine.breaker import Breaker, TargetDown
from app.engine.context import EngineContext
from app.engine.lease import LeaseLost
from app.engine.partition_tasks import Abandoned, PartitionTasks


def admitted(
    context: EngineContext, tasks: PartitionTasks, breaker: Breaker, gate: Breaker | None = None
) -> AttemptPermit:
    """``async with admitted(...) as permit`` waits until an attempt may begin, and ends it.

    Args:
        breaker: of the event's target.
        gate: what events of its kind wait for; None: they have all their rights.
    """
    return AttemptPermit(context, tasks, breaker, gate)


class AttemptPermit:
    """The permit of one attempt, see ``admitted``.

    Several calls of an event may be under way at once, and several may wait because the target asks for it. While any
    of them waits, the event holds no slot. The others go on: a few more calls do no harm.
    """

    __slots__ = (
        "_breaker",
        "_context",
        "_gate",
        "_has_slot",
        "_is_probe",
        "_late_seconds",
        "_returning",
        "_tasks",
        "_waiting",
    )

    def __init__(self, context: EngineContext, tasks: PartitionTasks, breaker: Breaker, gate: Breaker | None) -> None:
        self._context = context
        self._tasks = tasks
        self._breaker = breaker
        self._gate = gate
        self._is_probe = False
        self._has_slot = False
        self._late_seconds = 0.0
        self._waiting = 0
        self._returning: asyncio.Lock | None = None

    async def __aenter__(self) -> Self:
        """Wait until the attempt may begin, and take a slot.

        The slot comes after the waits for gate, throttle and breaker, so that other events run meanwhile.

        Raises:
            Abandoned: the partition was taken away.
        """
        context, tasks, breaker, gate = self._context, self._tasks, self._breaker, self._gate
        if tasks.draining:
            raise Abandoned
        throttle, slots = breaker.throttle, context.slots
        nothing_to_wait_for = not (breaker.is_open or throttle.is_crowded or slots.locked())
        if gate is None and nothing_to_wait_for and context.lease.holds(tasks.generation):
            await slots.acquire()  # there is one, so this does not wait
        else:
            with tasks.not_started():
                if gate is not None:
                    await gate.pass_or_probe()
                await throttle.room()
                self._is_probe = await breaker.pass_or_probe()
                await slots.acquire()
                try:
                    await tasks.until_lease()
                except BaseException:
                    slots.release()
                    raise
        self._has_slot = True
        context.in_flight += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the slot back."""
        self._context.in_flight -= 1
        self._release_slot()

    def __call__(self) -> None:
        """Check that a call may be sent now.

        Raises:
            LeaseLost: the partition may have another owner by now.
            TargetDown: the breaker has opened, and this is not its probe.
        """
        if not self._tasks.may_act:
            raise LeaseLost
        if self._breaker.is_open and not self._is_probe:
            raise TargetDown

    async def wait(self, seconds: float) -> None:
        """Wait without a slot, then take one. A drain ends the wait, and the next owner runs the event again."""
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

    def may_land_late(self, seconds: float) -> None:
        """A write was given up, and the target may still carry it out within ``seconds``."""
        self._late_seconds = max(self._late_seconds, seconds)

    async def until_nothing_lands_late(self) -> None:
        """Wait until no write of the attempt can land any more, over what the consumer's next event has written.

        A drain ends the wait, and the next owner runs the event again.
        """
        if self._late_seconds:
            await self._tasks.pause(self._late_seconds)

    def _begin_to_wait(self) -> None:
        self._waiting += 1
        if self._waiting == 1:
            self._breaker.throttle.enter()
            self._release_slot()

    async def _take_slot(self) -> None:
        self._returning = self._returning or asyncio.Lock()
        async with self._returning:
            if not self._has_slot:
                await self._context.slots.acquire()
                self._has_slot = True

    def _release_slot(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._context.slots.release()
