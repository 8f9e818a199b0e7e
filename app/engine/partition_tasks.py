"""The tasks of one owned partition: how they start, what they may do, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator

from app.engine.breaker import Breaker, TargetDown
from app.engine.context import EngineContext
from app.engine.flow import Result
from app.engine.lease import LeaseLost

# How often a worker whose lease ran out looks whether a heartbeat brought it back.
LEASE_POLL_SECONDS = 0.05


class Abandoned(Exception):
    """The partition was taken away: stop, without an outcome."""


class PartitionTasks:
    """What runs for one partition in one generation, and its right to act.

    ``draining``: no new work is started. ``dead``: nothing may be sent any more.
    """

    def __init__(self, number: int, generation: int, context: EngineContext) -> None:
        self.number = number
        self.generation = generation
        self.draining = False
        self.dead = False
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()  # those of them that wait to start

    def check(self, breaker: Breaker, probe: bool) -> None:
        """Raise when no call may go out to this target now: ``LeaseLost``, or ``TargetDown`` unless it is the probe."""
        if self.dead or not self._context.lease.holds(self.generation):
            raise LeaseLost
        if breaker.is_open and not probe:
            raise TargetDown

    @contextlib.contextmanager
    def not_started(self) -> Iterator[None]:
        """Around waits in which nothing is under way: a drain ends them at once."""
        if self.draining:
            raise Abandoned
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    async def _admitted(self, breaker: Breaker, gate: Breaker | None = None) -> bool:
        """Wait for a free slot, taken on return, while this is the owner; whether this is the breaker's probe.

        Whoever waits for a breaker, or because the target is throttled, holds no slot: events of others run meanwhile.
        """
        context = self._context
        if self.draining:
            raise Abandoned
        throttle, slots = breaker.throttle, context.slots
        if (
            gate is None
            and not (breaker.is_open or throttle.is_crowded or slots.locked())
            and context.lease.holds(self.generation)
        ):
            await slots.acquire()  # without waiting, as there is one
            return False
        with self.not_started():
            if gate is not None:
                await gate.pass_or_probe()
            await throttle.room()
            probe = await breaker.pass_or_probe()
            await slots.acquire()
            try:
                await self.until_lease()
            except BaseException:
                slots.release()
                raise
        return probe

    async def _look_for_an_outage(
        self, breaker: Breaker, turns: int, consumer: str, result: Result, first_failed_ms: int | None
    ) -> bool:
        """An event failed for want of its target, or was refused. Whether that was an outage, not the event.

        Args:
            turns: of the breaker when the attempt began. If it opened or closed since, the target may have refused
                every call then, although something else gets through now.
            first_failed_ms: the event's first failure, if it has no attempt left.
        """
        if result.refused and not breaker.never_opens:
            with self.not_started():
                await breaker.refused()
                await self.until_lease()
            if breaker.turns != turns:
                return True
        if not result.target_failed:
            return breaker.is_open
        breaker.event_failed(consumer)
        unanswered = first_failed_ms is not None and breaker.unanswered_since(first_failed_ms)
        if (result.target_down or unanswered) and not breaker.is_open:
            with self.not_started():
                await breaker.confirm()
        return breaker.is_open

    async def _until_nothing_is_late(self, seconds: float) -> None:
        """Wait until no call of an attempt will be carried out any more, over what the consumer's next event writes.

        A drain ends the wait, and the next owner runs the event again.
        """
        if seconds:
            with self.not_started():
                await asyncio.sleep(seconds)
                await self.until_lease()

    async def until_lease(self) -> None:
        """Return when a call may start, as far as the lease goes; raises ``Abandoned``."""
        while not self._context.lease.holds(self.generation):
            if self.dead:
                raise Abandoned
            await asyncio.sleep(LEASE_POLL_SECONDS)
        if self.dead:
            raise Abandoned

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run something as one of this partition's tasks; a bug in it stops the worker, loudly."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, Abandoned):
            self.dead = self.draining = True
            self._context.crash(error)

    def stop_taking(self) -> list[asyncio.Task[None]]:
        """Start no new work. Returns the tasks under way."""
        self.draining = True
        for task in list(self._idle):
            task.cancel()
        return list(self._tasks)

    def abandon(self) -> None:
        """Nothing may be sent any more; what is not durable will be done again by the next owner."""
        self.draining = self.dead = True
