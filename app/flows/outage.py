"""Reports the trouble of an account of Marketing Cloud: in the log at once, and as one incident if it lasts.

There are three kinds: an outage (the breaker is open), throttling, and missing rights. Trouble that comes and goes is
one ``Episode``: the incident begins with the first failure and ends when there was no failure for a while.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from app.delivery.alert import Alert, AlertKind, Severity
from app.delivery.errors import (
    CMT_NOT_ALLOWED,
    CMT_OUTAGE,
    CMT_PERMISSION,
    CMT_RATE_LIMITED,
    ErrorEntry,
)
from app.delivery.pipeline import Pipeline
from app.flows.episode import Episode
from app.flows.outage_texts import blocked_message, outage_entity, outage_message, right_entity, throttling_message
from app.flows.target_health import TargetHealth
from app.kafka.durable_producer import DurableProducer, Write
from app.observe.background import BackgroundTask

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
# An account counts as throttled until, for this long, no call has waited and none was throttled.
THROTTLED_SECONDS = 60.0


class OutageWatch:
    """Watches one account: an open breaker is logged at once; trouble that lasts becomes an incident with its end.

    Args:
        alert_seconds: trouble that lasts this long becomes an incident.
        waiting: how many events wait.
        blocked_since: since when events of an account wait for a missing right, by the breaker's clock.
    """

    def __init__(
        self,
        account: str,
        health: TargetHealth,
        producer: DurableProducer,
        pipeline: Pipeline,
        alert_seconds: float,
        waiting: Callable[[], int] = lambda: 0,
        blocked_since: Callable[[str], float | None] = lambda account: None,
    ) -> None:
        self.account = account
        self._health = health
        self._breaker = health.breaker
        self._producer = producer
        self._alerts_topic = pipeline.alerts_topic
        self._waiting = waiting
        self._outage = Episode(alert_seconds)
        self._throttling = Episode(alert_seconds, THROTTLED_SECONDS)
        self._blocked_since = blocked_since
        self._blocked = Episode(alert_seconds)
        self.blocked_since: float | None = None  # since when events wait for a missing right, by the breaker's clock
        self._was_missing = ""  # the rights that they wait for
        # Entities for whose data extension alone a right is missing: since when, and which right.
        self._missing: dict[str, tuple[float, str]] = {}
        self._tells = alert_seconds < math.inf
        self.causes: set[str] = set()  # fingerprints of the reported incidents that are not over
        self._throttled_at: float | None = None  # the last throttled answer that this watch has seen
        self._task = BackgroundTask("outage watch")
        self._opened_at: float | None = None  # when the breaker opened, once that is logged
        self._most_waiting = 0

    async def __aenter__(self) -> Self:
        self._task.start(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._task.stop()

    @property
    def waiting(self) -> int:
        """How many events of this worker have no outcome yet."""
        return self._waiting()

    def check(self) -> None:
        """Raise ``BackgroundTaskEnded`` if its task has ended."""
        self._task.check()

    async def _watch(self) -> None:
        while True:
            self._look_at_breaker()
            await self._look_for_an_outage()
            await self._look_for_throttling()
            await self._look_for_missing_rights()
            await asyncio.sleep(LOOK_SECONDS)

    def _look_at_breaker(self) -> None:
        breaker = self._breaker
        if breaker.is_open:
            if self._opened_at is None:
                self._opened_at = breaker.now() - breaker.open_seconds
                self._most_waiting = 0
                _say_opened(self.account, self._health.trouble)
            self._most_waiting = max(self._most_waiting, self._waiting())
        elif self._opened_at is not None:
            log.info(
                "circuit breaker closed: Marketing Cloud answers again, work goes on",
                account=self.account,
                open_seconds=round(breaker.now() - self._opened_at),
                events_waiting=self._most_waiting,
            )
            self._opened_at = None

    async def _look_for_an_outage(self) -> None:
        breaker, trouble = self._breaker, self._health.trouble
        since = self._outage.since
        said = self._outage.look(breaker.now(), breaker.failing_since if breaker.is_open else None)
        if said is AlertKind.OPEN:
            message = outage_message(self.account, trouble)
            await self._report(said, CMT_OUTAGE, Severity.OUTAGE, message, self._outage.since)
        elif said is AlertKind.RESOLVE:
            message = f"account {self.account}: Marketing Cloud answers again; work has resumed"
            await self._report(said, CMT_OUTAGE, Severity.OUTAGE, message, since)

    async def _look_for_throttling(self) -> None:
        now, last, since = self._breaker.now(), self._health.throttled_at, self._throttling.since
        failing_since = last if last != self._throttled_at else None
        if failing_since is None and self._breaker.throttle.waiting > 0:
            failing_since = now
        self._throttled_at = last
        said = self._throttling.look(now, failing_since)
        self._health.throttled_since = self._throttling.since
        if self._breaker.never_opens:
            return  # every throttled call uses up an attempt, and an event that is given up has an incident of its own
        if said is AlertKind.OPEN:
            message = throttling_message(self.account, self._breaker.throttle.waiting)
            log.warning("account is throttled", account=self.account, waiting=self._breaker.throttle.waiting)
            await self._report(said, CMT_RATE_LIMITED, Severity.THROTTLING, message, self._throttling.since)
        elif said is AlertKind.RESOLVE:
            message = f"account {self.account}: no longer throttled"
            log.info("account is no longer throttled", account=self.account)
            await self._report(said, CMT_RATE_LIMITED, Severity.THROTTLING, message, since)

    async def _look_for_missing_rights(self) -> None:
        rights, now, since = self._health.rights, self._breaker.now(), self._blocked.since
        blocked_since = self._blocked_since(self.account)
        self._say_what_waits(blocked_since)
        said = self._blocked.look(now, blocked_since)
        if said is AlertKind.OPEN:
            message = blocked_message(self.account, rights.text())
            await self._report(said, CMT_NOT_ALLOWED, Severity.OUTAGE, message, self._blocked.since)
        elif said is AlertKind.RESOLVE:
            message = f"account {self.account}: the right is there, work has resumed"
            await self._report(said, CMT_NOT_ALLOWED, Severity.OUTAGE, message, since)
        # A denial that is younger may turn out to concern the account as a whole.
        missing = rights.of_children(before=now - 2 * LOOK_SECONDS, whole_account=blocked_since is not None)
        for entity, (first, text) in missing.items():
            if entity not in self._missing:
                self._missing[entity] = first, text
                log.error(
                    "a right is missing on one data extension, its rows are not written",
                    account=self.account,
                    missing=text,
                )
                message = f"account {self.account}: {CMT_PERMISSION.meaning} It {text}."
                await self._report_child(AlertKind.OPEN, message, first, entity)
        for entity in [entity for entity in self._missing if entity not in rights.entities()]:
            first, text = self._missing.pop(entity)
            log.info("the right is there again", account=self.account, was=text, missing_seconds=round(now - first))
            message = f"account {self.account}: the right is there again"
            await self._report_child(AlertKind.RESOLVE, message, first, entity)

    def _say_what_waits(self, blocked_since: float | None) -> None:
        before, self.blocked_since = self.blocked_since, blocked_since
        if blocked_since is not None:
            self._was_missing = self._health.rights.text() or self._was_missing
            if before is None:
                log.error(
                    "a right in Marketing Cloud is missing; events wait for it",
                    account=self.account,
                    missing=self._was_missing,
                )
        elif before is not None:
            log.info(
                "the right is there again, work goes on",
                account=self.account,
                was=self._was_missing,
                missing_seconds=round(self._breaker.now() - before),
            )

    async def _report_child(self, kind: AlertKind, message: str, since: float, entity: str) -> None:
        if self._tells:
            await self._report(kind, CMT_PERMISSION, Severity.FAILED, message, since, self._place(entity))

    def _place(self, entity: str) -> str:
        return right_entity(self.account, entity)

    async def _report(
        self,
        kind: AlertKind,
        reason: ErrorEntry,
        severity: Severity,
        message: str,
        since: float | None,
        entity: str | None = None,
    ) -> None:
        now_ms = int(time.time() * 1000)
        ago_ms = 0 if since is None else int((self._breaker.now() - since) * 1000)
        alert = Alert(
            reason=reason.code,
            entity=entity or outage_entity(self.account),
            operation="-",
            market="-",
            event_id="",
            consumer="",
            message=message,
            at_ms=now_ms,
            kind=kind,
            severity=severity,
            since_ms=now_ms - ago_ms,
            waiting=self._waiting(),
        )
        # Before the alert is written: the reader of an end asks whether any worker still reports the cause.
        (self.causes.add if kind is AlertKind.OPEN else self.causes.discard)(alert.fingerprint)
        await self._producer.write_one(Write(self._alerts_topic, None, alert.fingerprint.encode(), alert.to_bytes()))


def _say_opened(account: str, trouble: ErrorEntry | None) -> None:
    if trouble is not None and trouble.refuses_us:
        log.error(
            "circuit breaker opened: Marketing Cloud refuses us, events wait until this is corrected",
            account=account,
            reason=trouble.code,
            do=trouble.remedy,
        )
    else:
        log.warning(
            "circuit breaker opened: Marketing Cloud is away, events wait until it answers",
            account=account,
            reason=trouble.code if trouble else None,
        )
