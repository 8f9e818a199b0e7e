"""Events that Kafka's retention deleted before they were read: a log line, a metric and an incident."""

from __future__ import annotations

import asyncio
import time

import structlog

from app.delivery.alert import Alert, Severity
from app.delivery.counts import EVENT_ENTITY
from app.delivery.errors import SYNC_CUT_OFF
from app.delivery.pipeline import Pipeline
from app.kafka.durable_producer import DurableProducer, Write
from app.observe.metrics import Metrics

log = structlog.get_logger(__name__)


class CutOffReports:
    """Reports such events.

    Args:
        producer: writes the alerts; None: no incidents.
    """

    def __init__(self, pipeline: Pipeline, metrics: Metrics, producer: DurableProducer | None) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._producer = producer
        self._sending: set[asyncio.Task[None]] = set()

    def report(self, partition: int, first: int, begin: int, events: int) -> None:
        """At most ``events`` events from offset ``first`` on are gone; the partition begins at ``begin``."""
        topic = self._pipeline.topic
        log.warning(
            "events were deleted by Kafka's retention before they were read",
            topic=topic,
            partition=partition,
            first=first,
            begins_at=begin,
            events=events,
        )
        self._metrics.cut_off(partition, events)
        if self._producer is None:
            return
        message = (
            f"Kafka's retention deleted {events} events of {topic}, partition {partition}, before they were read "
            f"(offsets {first} to {begin - 1}). {SYNC_CUT_OFF.remedy}"
        )
        now = int(time.time() * 1000)
        alert = Alert(
            reason=SYNC_CUT_OFF.code,
            entity=EVENT_ENTITY,
            operation="-",
            market="-",
            event_id=f"{partition}-{first}",
            consumer="",
            message=message,
            at_ms=now,
            severity=Severity.FAILED,
            since_ms=now,
        )
        # In a task of its own: the take-over must not wait for an incident.
        task = asyncio.get_running_loop().create_task(self._send(self._producer, alert))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, producer: DurableProducer, alert: Alert) -> None:
        write = Write(self._pipeline.alerts_topic, None, alert.fingerprint.encode(), alert.to_bytes())
        try:
            await producer.write_one(write)
        except Exception as error:  # noqa: BLE001 - the log and the metric have it
            log.warning("no incident for events that are gone", error=type(error).__name__)
