"""A background task lives as long as its owner; one that ends before is noticed."""

from __future__ import annotations

import asyncio

import pytest

from app.observe.background import BackgroundTask, BackgroundTaskEnded


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError("a bug")


async def test_a_task_runs_until_it_is_stopped() -> None:
    task = BackgroundTask("watch")
    task.check()
    await task.stop()
    task.start(forever())
    await asyncio.sleep(0)
    task.check()
    assert "watch" in {one.get_name() for one in asyncio.all_tasks()}
    await task.stop()
    assert "watch" not in {one.get_name() for one in asyncio.all_tasks()}


async def test_a_task_that_ends_is_named_with_its_cause() -> None:
    task = BackgroundTask("watch")
    task.start(fail())
    await asyncio.sleep(0)
    with pytest.raises(BackgroundTaskEnded, match=r"'watch' has ended .*a bug"):
        task.check()
    await task.stop()
