"""The incident desk: one open incident for each fingerprint, and not a flood of notes in it.

The first alert of a fingerprint opens an incident, unless one is open already (the ticket system is asked first, so a
restart opens no second one). Further alerts are counted and become one work note every so often. An incident that
somebody closed is not reopened: the next alert that is reported opens a new one.

``handle`` returns when the ticket system has the alert, or when an incident is open and the alert has been counted for
its next note; a crash loses that count, never an incident.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Self

import structlog

from app.domain.backoff import delay_seconds
from app.incidents.alert import Alert, AlertKind, UnreadableAlert, correlation_id
from app.incidents.log_only import LogOnly
from app.incidents.servicenow import ServiceNow
from app.incidents.ticket_text import more_of_the_same, new_incident, over
from app.incidents.tickets import TicketError, TicketSystem
from app.settings import ServiceNowSettings

log = structlog.get_logger(__name__)

# Events named in a ticket.
EVENTS_NAMED = 10
# Between two tries while the ticket system is in trouble.
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0
# How often counted alerts are looked through for notes that are due, at most and at least.
FLUSH_SECONDS_LEAST, FLUSH_SECONDS_MOST = 0.05, 10.0
# What the last notes get when the desk closes.
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one fingerprint: when something was last reported, and what came since.

    ``held``: alerts counted since; ``alerts``: the first few of them.
    """

    reported_at: float
    held: int = 0
    alerts: tuple[Alert, ...] = ()

    def plus(self, alert: Alert) -> Known:
        """With one more alert counted."""
        return replace(self, held=self.held + 1, alerts=(*self.alerts, alert)[:EVENTS_NAMED])


class Step(StrEnum):
    """What an alert leads to: tell the ticket system now, or count it for a later note."""

    REPORT = "report"
    HOLD = "hold"


def decide(known: Known | None, alert: Alert, now: float, note_every: float) -> Step:
    """What an alert leads to. ``now`` and ``note_every`` in seconds of the same clock.

    Nothing known, good news, or the last report long enough ago: report. Whether that opens an incident or adds a note
    depends on what is open in the ticket system then.
    """
    if known is None or alert.kind is AlertKind.RESOLVE or is_due(known, now, note_every):
        return Step.REPORT
    return Step.HOLD


def is_due(known: Known, now: float, note_every: float) -> bool:
    """Whether the last report is long enough ago for another one."""
    return now - known.reported_at >= note_every


class IncidentDesk:
    """Handles alerts. Use as an async context manager: it reports counted alerts in the background.

    Args:
        tickets: the ticket system, open while this is used.
        group: the consumer group, whose name begins every correlation ID.
        note_every_seconds: the shortest time between two notes of an incident.
        assignment_group: who gets new incidents.
        on_result: told "created", "noted", "held", "resolved", "nothing-open", "unreadable" or "failed" (one request).
        clock: monotonic seconds.
    """

    def __init__(
        self,
        tickets: TicketSystem,
        group: str,
        *,
        note_every_seconds: float,
        assignment_group: str | None = None,
        on_result: Callable[[str], None] = lambda result: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._tickets = tickets
        self._group = group
        self._note_every = note_every_seconds
        self._assignment_group = assignment_group
        self._on_result = on_result
        self._clock = clock
        self._sleep = sleep
        self._known: dict[str, Known] = {}
        # One alert at a time: two of the same fingerprint must not both find nothing open.
        self._one = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._flusher = asyncio.create_task(self._flush_forever(), name="incident notes")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait([self._flusher])
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._flush(lambda known: True)

    async def handle_record(self, key: bytes | None, value: bytes | None) -> None:
        """One record of the alerts topic. What is no alert is logged and dropped: nobody could make a ticket of it."""
        try:
            alert = Alert.from_bytes(value)
        except UnreadableAlert as problem:
            log.error("a record of the alerts topic is not an alert", problem=str(problem), size=len(value or b""))
            self._on_result("unreadable")
            return
        await self.handle(alert)

    async def handle(self, alert: Alert) -> None:
        """Return when the alert is safe (see above). While the ticket system is in trouble: try until cancelled."""
        async with self._one:
            known = self._known.get(alert.fingerprint)
            if known is not None and decide(known, alert, self._clock(), self._note_every) is Step.HOLD:
                self._known[alert.fingerprint] = known.plus(alert)
                self._on_result("held")
                return
            failures = 0
            while True:
                try:
                    if alert.kind is AlertKind.RESOLVE:
                        await self._resolve(alert, known)
                    else:
                        await self._report(alert.fingerprint, (known or Known(self._clock())).plus(alert))
                except TicketError as error:
                    failures += 1
                    await self._pause(alert.fingerprint, error, failures)
                else:
                    return

    async def flush_due(self) -> None:
        """Report counted alerts whose note is due; those that cannot be reported now stay counted."""
        await self._flush(lambda known: is_due(known, self._clock(), self._note_every))

    async def _flush(self, wanted: Callable[[Known], bool]) -> None:
        async with self._one:
            for fingerprint, known in list(self._known.items()):
                if known.held and wanted(known):
                    try:
                        await self._report(fingerprint, known)
                    except TicketError as error:
                        self._on_result("failed")
                        log.warning("incident note not written", fingerprint=fingerprint, problem=str(error))
                        return

    async def _report(self, fingerprint: str, known: Known) -> None:
        correlation = correlation_id(self._group, fingerprint)
        found = await self._tickets.find_open(correlation)
        if found is None:
            fields = new_incident(correlation, known.alerts, known.held, self._assignment_group)
            created = await self._tickets.create(fields)
            log.info("incident opened", fingerprint=fingerprint, incident=created.number)
            self._on_result("created")
        else:
            await self._tickets.add_work_note(found, more_of_the_same(known.alerts, known.held))
            self._on_result("noted")
        self._known[fingerprint] = Known(self._clock())

    async def _resolve(self, alert: Alert, known: Known | None) -> None:
        found = await self._tickets.find_open(correlation_id(self._group, alert.fingerprint))
        if found is not None:
            await self._tickets.add_work_note(found, over(alert, known.held if known else 0))
        self._on_result("nothing-open" if found is None else "resolved")
        # Should it come back, that is news again.
        self._known.pop(alert.fingerprint, None)

    async def _pause(self, fingerprint: str, error: TicketError, failures: int) -> None:
        self._on_result("failed")
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        wait = max(delay_seconds(failures, BACKOFF_FIRST, BACKOFF_MOST, jitter), error.retry_after or 0.0)
        log.warning(
            "incident not reported yet", fingerprint=fingerprint, problem=str(error), again_in_seconds=round(wait, 1)
        )
        await self._sleep(wait)

    async def _flush_forever(self) -> None:
        pause = min(max(self._note_every / 2, FLUSH_SECONDS_LEAST), FLUSH_SECONDS_MOST)
        while True:
            await asyncio.sleep(pause)
            await self.flush_due()


@asynccontextmanager
async def open_desk(
    settings: ServiceNowSettings, group: str, *, on_result: Callable[[str], None] = lambda result: None
) -> AsyncIterator[IncidentDesk]:
    """The desk that the settings ask for: with ServiceNow, or, without SERVICENOW_URL, with the log."""
    async with AsyncExitStack() as stack:
        tickets: TicketSystem = LogOnly()
        if settings.url is not None:
            tickets = await stack.enter_async_context(ServiceNow(settings))
        yield await stack.enter_async_context(
            IncidentDesk(
                tickets,
                group,
                note_every_seconds=settings.note_every_seconds,
                assignment_group=settings.assignment_group,
                on_result=on_result,
            )
        )
