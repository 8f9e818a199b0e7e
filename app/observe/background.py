"""Tasks that run as long as their owner does. One that ends before is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTaskEnded(Exception):
    """A background task has ended before it was stopped; the text gives its name and the cause."""


class BackgroundTask:
    """A task between ``start`` and ``stop``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine from now on."""
        self._task = asyncio.create_task(work, name=self._name)

    async def stop(self) -> None:
        """Cancel the task and wait for its end; harmless when it was not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def check(self) -> None:
        """See that the task still runs, if it was started.

        Raises:
            BackgroundTaskEnded: it has ended.
        """
        task = self._task
        if task is not None and task.done():
            cause = None if task.cancelled() else task.exception()
            raise BackgroundTaskEnded(f"the background task {self._name!r} has ended ({cause!r})") from cause
