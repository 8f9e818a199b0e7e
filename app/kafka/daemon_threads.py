"""Calls of a Kafka client that may never return: closing a client hangs when one of its threads does (librdkafka #4514,
#5476)."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import structlog

from app.kafka.admin import KafkaAccessError

log = structlog.get_logger(__name__)

# A call has a time limit of its own. If it has not returned this long after that limit, it hangs.
SLACK_SECONDS = 5.0

T = TypeVar("T")


class CallHangs(KafkaAccessError):
    """A call did not return in time. Its thread still uses the client: make a new one, and leave the old one open."""


def in_background(what: str, call: Callable[[], T]) -> Future[T]:
    """Start a call that blocks, in a thread of its own that does not keep the process alive.

    Args:
        what: what the call does, e.g. "close the client".
    """
    context, done = contextvars.copy_context(), Future[T]()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            answer = context.run(call)
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is asked for
            done.set_exception(error)
        else:
            done.set_result(answer)

    threading.Thread(target=run, name=what, daemon=True).start()
    return done


async def in_daemon_thread(what: str, call: Callable[[], T], patience_seconds: float) -> T:
    """The result of a call that blocks.

    The call has a thread of its own that does not keep the process alive. A thread of ``asyncio.to_thread`` would,
    because the end of the event loop waits for it.

    Args:
        what: what the call does, e.g. "close the client".
        patience_seconds: the call's own time limit. It gets ``SLACK_SECONDS`` more.

    Raises:
        CallHangs: no result in time. The thread keeps running.
    """
    waiting = asyncio.wrap_future(in_background(what, call))
    seconds = patience_seconds + SLACK_SECONDS
    try:
        finished, _ = await asyncio.wait((waiting,), timeout=seconds)
        if finished:
            return waiting.result()
    finally:
        waiting.cancel()  # a result that comes later is dropped
    log.error("a call of the Kafka client hangs; the next try makes a new client", call=what, seconds=seconds)
    raise CallHangs(f"the Kafka client hangs: it was to {what}, and has not returned within {seconds:g} s")
