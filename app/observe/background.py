"""Tasks that must run as long as the worker. The end of one is an error."""

from __future__ import annotations

import asyncio
from typing import Any


class BackgroundTaskEnded(Exception):
    """A background task has ended. The text names the task and the cause."""


def check_running(task: asyncio.Task[Any] | None) -> None:
    """Check that a task still runs. ``task``: None if it was not started, which is no error.

    Raises:
        BackgroundTaskEnded: the task has ended.
    """
    if task is not None and task.done():
        cause = None if task.cancelled() else task.exception()
        raise BackgroundTaskEnded(f"the background task {task.get_name()!r} has ended ({cause!r})") from cause
