"""Publishes sample events to the main topic, in a thread beside the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

from app.demo.failed import DemoFailed
from app.flows.publishing import publish_events
from app.profile.event import ProfileEvent
from app.profile.samples.samples import sample_events
from app.settings import KafkaSettings


class Publishing:
    """Starts publishing when it is created, in a running event loop. ``sent``: events handed to the client so far.

    ``spread_seconds``: publish at an even pace over this time; 0: as fast as Kafka accepts events. ``at_first``: hold
    the events after this number until ``allow`` lets them through; None: hold none.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        events: int,
        seed: int,
        spread_seconds: float = 0.0,
        at_first: int | None = None,
    ) -> None:
        self.sent = 0
        self._kafka = kafka
        self._topic = topic
        self._events = events
        self._seed = seed
        self._between = spread_seconds / events
        self._allowed = events if at_first is None else at_first
        self._held = threading.Condition()
        self._stopping = threading.Event()
        self._task = asyncio.ensure_future(asyncio.to_thread(self._publish))
        # Reads the exception: if the demo ends first, nothing else does, and asyncio would log it.
        self._task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def published(self) -> int | None:
        """The number of published events, once Kafka has acknowledged all; None until then.

        Raises:
            DemoFailed, KafkaAccessError: Kafka did not accept them.
        """
        return self._task.result() if self._task.done() else None

    def allow(self, number: int) -> None:
        """Publish the events up to this number."""
        with self._held:
            self._allowed = max(self._allowed, number)
            self._held.notify_all()

    def stop(self) -> None:
        """Stop publishing."""
        with self._held:
            self._stopping.set()
            self._held.notify_all()

    def _publish(self) -> int:
        result = publish_events(self._until_stopped(), self._kafka, self._topic, on_sent=self._note)
        if result.rejected:
            first = result.rejected[0]
            raise DemoFailed(f"Kafka did not accept {len(result.rejected)} events: {first.code}: {first.reason}")
        return result.published

    def _until_stopped(self) -> Iterator[ProfileEvent]:
        began = time.monotonic()
        for number, event in enumerate(sample_events(self._events, self._seed)):
            self._wait_until_allowed(number)
            if self._stopping.wait(max(0.0, began + number * self._between - time.monotonic())):
                return
            yield event

    def _wait_until_allowed(self, number: int) -> None:
        with self._held:
            self._held.wait_for(lambda: number < self._allowed or self._stopping.is_set())

    def _note(self, number: int) -> None:
        self.sent = number
