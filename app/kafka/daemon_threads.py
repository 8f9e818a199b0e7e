"""Calls of a Kafka client that may never return. Closing a client does so when one of its threads hangs (librdkafka
#4514, #5476)."""

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

# A call that keeps its own time limit returns this long after it at the latest, else it hangs.
SLACK_SECONDS = 5.0

T = TypeVar("T")


class CallHangs(KafkaAccessError):
    """A call did not return in time. Its thread still uses the client: make a new one, and do not close the old one."""


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
    """The answer of a call that blocks. Each call has a thread of its own, which does not keep the process alive; the
    threads of ``asyncio.to_thread`` do, because the end of the loop waits for them.

    Args:
        what: what the call does, e.g. "close the client".
        patience_seconds: what the call itself allows for its work; it gets ``SLACK_SECONDS`` more.

    Raises:
        CallHangs: no answer by then. The thread is left alone.
    """
    waiting = asyncio.wrap_future(in_background(what, call))
    seconds = patience_seconds + SLACK_SECONDS
    try:
        finished, _ = await asyncio.wait((waiting,), timeout=seconds)
        if finished:
            return waiting.result()
    finally:
        waiting.cancel()  # an answer that comes later is dropped
    log.error("a call of the Kafka client hangs; the next try makes a new client", call=what, seconds=seconds)
    raise CallHangs(f"the Kafka client hangs: it was to {what}, and has not returned within {seconds:g} s")
