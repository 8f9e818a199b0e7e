"""What an outage of an account of Marketing Cloud leads to: its breaker hears of every call, one incident says so."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

import structlog

from app.domain.counts import EVENT_ENTITY
from app.domain.entities import OWN_ACCOUNT
from app.domain.errors import CMT_BLOCKED, CMT_OUTAGE, ErrorClass, ErrorEntry, lookup
from app.engine.breaker import Breaker
from app.engine.producer import DurableProducer, Write
from app.incidents.alert import Alert, AlertKind, Severity
from app.observe.metrics import Metrics
from app.settings import KafkaSettings

log = structlog.get_logger(__name__)

OK = "ok"
LOOK_SECONDS = 0.5


class TargetHealth:
    """Observer of one account's calls: tells the metrics, and the breaker whether the account lives.

    ``trouble``: what a request was last answered with that says it does not; None: the last answer was a good one.
    """

    def __init__(self, breaker: Breaker, metrics: Metrics, account: str) -> None:
        self.breaker = breaker
        self.trouble: ErrorEntry | None = None
        self._metrics = metrics
        self._account = account

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None:
        """A SOAP call ended; ``result`` is "ok" or a registry code."""
        self._metrics.call(operation, entity, result, seconds, self._account)
        entry = None if result == OK else lookup(result)
        if entry is not None and entry.transport:
            self._is_in_trouble(entry)
            self.breaker.failed()
        else:
            self.trouble = None
            self.breaker.succeeded()

    def token(self, result: str) -> None:
        """A token request ended. The breaker hears of those that failed by the events that failed for want of one: a
        refresh ahead of time may fail without harm."""
        self._metrics.token(result, self._account)
        if result != OK:
            self._is_in_trouble(lookup(result))

    def _is_in_trouble(self, entry: ErrorEntry) -> None:
        self.trouble = entry
        self.breaker.probe_rarely(entry is CMT_BLOCKED)


class OutageWatch:
    """Reports an account's open breaker: at once in the log, as an incident after ``alert_seconds``, and its end."""

    def __init__(
        self,
        account: str,
        health: TargetHealth,
        producer: DurableProducer,
        kafka: KafkaSettings,
        alert_seconds: float,
    ) -> None:
        self._account = account
        self._health = health
        self._breaker = health.breaker
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
                    log.warning(
                        "circuit breaker opened: no event of this account is worked on until it answers",
                        account=self._account,
                        reason=self._health.trouble.code if self._health.trouble else None,
                    )
                    logged = True
                if not alerted and self._breaker.open_seconds >= self._alert_seconds:
                    await self._report(AlertKind.OPEN, outage_message(self._account, self._health.trouble))
                    alerted = True
            elif logged:
                log.info("circuit breaker closed: Marketing Cloud answers again", account=self._account)
                if alerted:
                    await self._report(
                        AlertKind.RESOLVE, f"account {self._account}: Marketing Cloud answers again; work has resumed"
                    )
                logged = alerted = False
            await asyncio.sleep(LOOK_SECONDS)

    async def _report(self, kind: AlertKind, message: str) -> None:
        alert = Alert(
            reason=CMT_OUTAGE.code,
            entity=outage_entity(self._account),
            operation="-",
            market="-",
            event_id="",
            consumer="",
            message=message,
            at_ms=int(time.time() * 1000),
            kind=kind,
            severity=Severity.OUTAGE,
        )
        await self._producer.write_one(
            Write(self._kafka.alerts_topic, None, alert.fingerprint.encode(), alert.to_bytes())
        )


def outage_entity(account: str) -> str:
    """What an outage is about: part of the incident's fingerprint, so that each account has its own."""
    return EVENT_ENTITY if account == OWN_ACCOUNT else f"account-{account}"


def outage_message(account: str, trouble: ErrorEntry | None) -> str:
    """What is wrong with an account, and whether somebody has to do something about it."""
    said = f"{trouble.code}: {trouble.meaning} {trouble.remedy}" if trouble else "No answers."
    waits = "Its events wait, no attempt is used up"
    if trouble is not None and trouble.error_class is ErrorClass.AUTH:
        return f"account {account}: {said} {waits}; work resumes when this is mended."
    return f"account {account}: {said} {waits}; work resumes by itself."
