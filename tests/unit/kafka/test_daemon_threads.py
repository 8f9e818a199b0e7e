"""A blocking call has its answer, its error or its deadline."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app.kafka import daemon_threads
from app.kafka.daemon_threads import CallHangs, in_daemon_thread

PATIENCE_SECONDS = 20.0  # reached only when the test fails


async def test_the_answer_and_the_error_of_a_call_come_back() -> None:
    thread = await in_daemon_thread("answer", threading.current_thread, PATIENCE_SECONDS)
    assert thread.daemon
    with pytest.raises(TimeoutError):  # the call's own, not a missed deadline
        await in_daemon_thread("fail", _too_late, PATIENCE_SECONDS)


def _too_late() -> None:
    raise TimeoutError


async def test_an_answer_after_the_deadline_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_threads, "SLACK_SECONDS", 0.0)
    started, released = threading.Event(), threading.Event()
    threads, troubles = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))

    def hang() -> None:
        threads.append(threading.current_thread())
        started.set()
        released.wait()

    with pytest.raises(CallHangs, match=r"it was to hang, and has not returned within 0.05 s"):
        await in_daemon_thread("hang", hang, 0.05)
    released.set()
    assert await asyncio.to_thread(started.wait, PATIENCE_SECONDS)
    await asyncio.to_thread(threads[0].join, PATIENCE_SECONDS)
    await asyncio.sleep(0)
    assert not threads[0].is_alive()
    assert troubles == []
