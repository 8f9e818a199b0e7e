"""What an outage of Marketing Cloud leads to: the breaker hears of every call, and one incident says so."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

import structlog

from app.domain.counts import EVENT_ENTITY
from app.domain.errors import CMT_OUTAGE, lookup
from app.engine.breaker import Breaker
from app.engine.producer import DurableProducer, Write
from app.incidents.alert import Alert, AlertKind
from app.observe.metrics import Metrics
from app.settings import KafkaSettings

log = structlog.get_logger(__name__)

OK = "ok"
LOOK_SECONDS = 0.5


class TargetHealth:
    """Observer of the client's calls: tells the metrics, and the breaker whether the target lives."""

    def __init__(self, breaker: Breaker, metrics: Metrics) -> None:
        self._breaker = breaker
        self._metrics = metrics

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None:
        """A SOAP call ended; ``result`` is "ok" or a registry code."""
        self._metrics.call(operation, entity, result, seconds)
        if result != OK and lookup(result).transport:
            self._breaker.failed()
        else:
            self._breaker.succeeded()

    def token(self, result: str) -> None:
        """A token request ended. The breaker hears of those that failed by the events that failed for want of one: a
        refresh ahead of time may fail without harm."""
        self._metrics.token(result)


class OutageWatch:
    """Reports an open breaker: at once in the log, as an incident after ``alert_seconds``, and when it is over."""

    def __init__(self, breaker: Breaker, producer: DurableProducer, kafka: KafkaSettings, alert_seconds: float) -> None:
        self._breaker = breaker
        self._producer = producer
        self._kafka = kafka
        self._alert_seconds = alert_seconds
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="outage watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        logged = alerted = False
        while True:
            if self._breaker.is_open:
                if not logged:
                    log.warning("circuit breaker opened: Marketing Cloud does not answer, consumption is paused")
                    logged = True
                if not alerted and self._breaker.open_seconds >= self._alert_seconds:
                    await self._report(AlertKind.OPEN, "no answers; consumption is paused and resumes by itself")
                    alerted = True
            elif logged:
                log.info("circuit breaker closed: Marketing Cloud answers again")
                if alerted:
                    await self._report(AlertKind.RESOLVE, "Marketing Cloud answers again; work has resumed")
                logged = alerted = False
            await asyncio.sleep(LOOK_SECONDS)

    async def _report(self, kind: AlertKind, message: str) -> None:
        alert = Alert(
            reason=CMT_OUTAGE.code,
            entity=EVENT_ENTITY,
            operation="-",
            market="-",
            event_id="",
            consumer="",
            message=message,
            at_ms=int(time.time() * 1000),
            kind=kind,
        )
        await self._producer.write_one(
            Write(self._kafka.alerts_topic, None, alert.fingerprint.encode(), alert.to_bytes())
        )
