"""Tasks that run as long as the worker does: one that has ended must not go unnoticed."""

from __future__ import annotations

import asyncio
from typing import Any


class BackgroundTaskEnded(Exception):
    """A task has ended that must not; the text names it and why."""


def must_run(task: asyncio.Task[Any] | None) -> None:
    """See that a task still runs; None: it was never started.

    Raises:
        BackgroundTaskEnded: it has ended.
    """
    if task is not None and task.done():
        cause = None if task.cancelled() else task.exception()
        raise BackgroundTaskEnded(f"the background task {task.get_name()!r} has ended ({cause!r})") from cause
