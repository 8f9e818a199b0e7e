"""The tasks of one owned partition: how they start, whether they may act, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator

from app.engine.lease import Lease

# Between two looks whether a heartbeat has renewed a lease that ran out.
LEASE_POLL_SECONDS = 0.05


class Abandoned(Exception):
    """The partition was taken away: stop, without an outcome."""


class PartitionTasks:
    """What runs for one partition in one generation, and its right to act.

    ``draining``: no new work starts. ``dead``: nothing may be sent any more.

    Args:
        crash: called with a bug that ended a task: the worker must not go on.
    """

    def __init__(self, generation: int, lease: Lease, crash: Callable[[BaseException], None]) -> None:
        self.generation = generation
        self.draining = False
        self.dead = False
        self._lease = lease
        self._crash = crash
        self._running: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()  # the running ones that have nothing under way

    @property
    def running(self) -> frozenset[asyncio.Task[None]]:
        """The tasks that have not ended."""
        return frozenset(self._running)

    @property
    def may_act(self) -> bool:
        """Whether a call may start now: the partition is ours, and the lease says so."""
        return not self.dead and self._lease.holds(self.generation)

    async def until_lease(self) -> None:
        """Return when a call may start.

        Raises:
            Abandoned: the partition was taken away.
        """
        while not self._lease.holds(self.generation):
            if self.dead:
                raise Abandoned
            await asyncio.sleep(LEASE_POLL_SECONDS)
        if self.dead:
            raise Abandoned

    async def pause(self, seconds: float) -> None:
        """Wait with nothing under way, and return when a call may start.

        Raises:
            Abandoned: the partition was taken away.
        """
        with self.not_started():
            await asyncio.sleep(seconds)
            await self.until_lease()

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

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run something as one of this partition's tasks; a bug in it stops the worker, loudly."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, Abandoned):
            self.abandon()
            self._crash(error)

    def stop_taking(self) -> list[asyncio.Task[None]]:
        """Start no new work. Returns the tasks under way."""
        self.draining = True
        for task in list(self._idle):
            task.cancel()
        return list(self._running)

    def abandon(self) -> None:
        """Nothing may be sent any more; the next owner does again what is not durable."""
        self.draining = self.dead = True
