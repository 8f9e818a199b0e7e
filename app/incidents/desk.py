"""The incident desk: one open incident for each fingerprint, with a limited number of notes.

The first alert of a fingerprint opens an incident, unless one is already open. The desk asks the ticket system first,
so a restart opens no second incident. It also remembers what it opened, because its user may not be allowed to read
incidents. Further alerts are counted and become one work note at intervals. A closed incident is not reopened: the next
alert that is reported opens a new one. When the cause is over, the desk adds a work note and sets the state "resolved".

The ticket system never stops the sync. An alert that cannot be reported waits. An alert that repeatedly meets a bug is
logged and dropped. ``handle`` returns when the ticket system has the alert, or when an incident is open and the alert
is counted for its next note. A crash loses that count, but never an incident.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from app.delivery.alert import Alert, AlertKind, UnreadableAlert, correlation_id
from app.delivery.backoff import delay_seconds
from app.incidents.ending import UNREADABLE_MS, end_reason
from app.incidents.log_only import LogOnly
from app.incidents.memory import IncidentMemory, ProcessMemory, Remembered, remember
from app.incidents.pacing import AlertAction, HeldAlerts, decide, is_due
from app.incidents.servicenow import ServiceNow
from app.incidents.ticket_text import end_note, further_alerts_note, new_incident, silent_end_note
from app.incidents.tickets import Incident, TicketError, TicketSystem
from app.observe.background import BackgroundTask
from app.settings import ServiceNowSettings

log = structlog.get_logger(__name__)

# Between two tries while the ticket system is in trouble.
BACKOFF_FIRST, BACKOFF_MOST = 1.0, 60.0
# The bounds of the time between two checks for notes that are due.
FLUSH_SECONDS_LEAST, FLUSH_SECONDS_MOST = 0.05, 10.0
# The time between two questions whether a remembered incident is still open.
CHECK_SECONDS = 300.0
# The time between two updates of an incident's last alert in the memory.
TOUCH_MS = 60_000
# An alert that meets a bug is tried this many times.
BUG_TRIES = 3
# The last notes must be written within this time when the desk closes.
CLOSE_SECONDS = 5.0


class IncidentDesk:
    """Handles alerts. It is an async context manager, which reports counted alerts in the background.

    Args:
        tickets: the ticket system; it must stay open while the desk is used.
        group: the consumer group; every correlation ID begins with its name.
        note_every_seconds: the shortest time between two notes of an incident.
        resolve_minutes: an incident is over after this time without an alert; 0: never.
        memory: where opened incidents are remembered.
        owns: whether this worker handles the alerts of a partition.
        still_on: whether a worker reports that a cause still lasts; None: workers do not report such a cause.
        assignment_group: the assignment group of new incidents.
        where: group and topics, for the text of new incidents.
        on_result: called with "created", "noted", "held", "resolved", "nothing-open", "unreadable", "refused",
            "dropped" or "failed" (one request).
        clock: monotonic seconds.
        now_ms: wall clock.
    """

    def __init__(
        self,
        tickets: TicketSystem,
        group: str,
        *,
        note_every_seconds: float,
        assignment_group: str | None = None,
        where: str = "",
        resolve_minutes: float = 0.0,
        memory: IncidentMemory | None = None,
        owns: Callable[[int], bool] = lambda partition: True,
        still_on: Callable[[str], bool | None] = lambda fingerprint: None,
        on_result: Callable[[str], None] = lambda result: None,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._tickets = tickets
        self._group = group
        self._note_every = note_every_seconds
        self._assignment_group = assignment_group
        self._where = where
        self._resolve_ms = resolve_minutes * 60_000
        self._memory = ProcessMemory() if memory is None else memory
        self._owns = owns
        self._still_on = still_on
        self._on_result = on_result
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._clock = clock
        self._sleep = sleep
        self._known: dict[str, HeldAlerts] = {}
        self._checked: dict[str, float] = {}
        # One alert at a time, so that two alerts of one fingerprint do not open two incidents.
        self._one = asyncio.Lock()
        self._flusher = BackgroundTask("incident notes")

    async def __aenter__(self) -> Self:
        self._flusher.start(self._flush_forever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._flusher.stop()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._flush(lambda known: True)
        except TimeoutError:
            log.warning("the last incident notes are not written: the ticket system does not answer")
        except Exception as bug:
            log.error("the last incident notes are not written because of a bug", exc_info=bug)

    def check(self) -> None:
        """Raise ``BackgroundTaskEnded`` if its task has ended."""
        self._flusher.check()

    async def handle_record(self, key: bytes | None, value: bytes | None, partition: int = 0) -> None:
        """Handle a record of the alerts topic. A record that is not an alert is logged and dropped."""
        try:
            alert = Alert.from_bytes(value)
        except UnreadableAlert as problem:
            log.error("a record of the alerts topic is not an alert", problem=str(problem), size=len(value or b""))
            self._on_result("unreadable")
            return
        await self.handle(alert, partition)

    async def handle(self, alert: Alert, partition: int = 0) -> None:
        """Handle an alert; returns when it is safe (see above). While the ticket system fails, try until cancelled."""
        async with self._one:
            known = self._known.get(alert.fingerprint)
            if known is not None and decide(known, alert, self._clock(), self._note_every) is AlertAction.HOLD:
                self._known[alert.fingerprint] = known.plus(alert)
                await self._touch(alert, partition)
                self._on_result("held")
                return
            counted = (known or HeldAlerts(self._clock())).plus(alert)
            failures = bugs = 0
            while True:
                try:
                    if alert.kind is AlertKind.RESOLVE:
                        await self._resolve(alert, known)
                    else:
                        await self._report(alert.fingerprint, counted, partition)
                except TicketError as error:
                    failures += 1
                    await self._pause(alert.fingerprint, error, failures)
                except Exception as error:
                    bugs += 1
                    log.error("incident not reported because of a bug", fingerprint=alert.fingerprint, exc_info=error)
                    if bugs >= BUG_TRIES:
                        self._on_result("dropped")
                        return
                    await self._pause(alert.fingerprint, TicketError(type(error).__name__), bugs)
                else:
                    return

    async def flush_due(self) -> None:
        """Report counted alerts whose note is due. Alerts that cannot be reported now stay counted."""
        await self._flush(lambda known: is_due(known, self._clock(), self._note_every))

    async def look_after(self) -> None:
        """Resolve incidents whose cause is gone without a message, and forget incidents that a person closed."""
        async with self._one:
            for fingerprint, remembered in self._memory.all().items():
                if not self._owns(remembered.partition):
                    continue
                try:
                    await self._look_after(fingerprint, remembered)
                except TicketError as error:
                    self._on_result("failed")
                    log.warning("incident not looked after", fingerprint=fingerprint, problem=str(error))
                    return

    async def _look_after(self, fingerprint: str, remembered: Remembered) -> None:
        # Alerts from before this worker's start may have been missed, so the silence counts from its start.
        seen = replace(remembered, seen_ms=max(remembered.seen_ms, self._started_ms))
        why = end_reason(seen, self._still_on(fingerprint), self._now_ms(), self._resolve_ms)
        if why is not None:
            found = await self._find(fingerprint, remembered)
            await self._end(fingerprint, found, silent_end_note(why, remembered))
        elif self._clock() - self._checked.get(fingerprint, float("-inf")) >= CHECK_SECONDS:
            self._checked[fingerprint] = self._clock()
            if not await self._counts_as_open(remembered):
                log.info("an incident was closed", fingerprint=fingerprint, incident=remembered.incident.number)
                await self._forget(fingerprint)

    async def _flush(self, wanted: Callable[[HeldAlerts], bool]) -> None:
        async with self._one:
            for fingerprint, known in list(self._known.items()):
                if known.held and wanted(known):
                    try:
                        remembered = self._memory.all().get(fingerprint)
                        await self._report(fingerprint, known, remembered.partition if remembered else 0)
                    except TicketError as error:
                        self._on_result("failed")
                        log.warning("incident note not written", fingerprint=fingerprint, problem=str(error))
                        return

    async def _report(self, fingerprint: str, known: HeldAlerts, partition: int) -> None:
        before = self._memory.all().get(fingerprint)
        found = await self._find(fingerprint, before)
        if found is None:
            correlation = correlation_id(self._group, fingerprint)
            found = await self._tickets.create(
                new_incident(correlation, known.alerts, known.held, self._assignment_group, self._where)
            )
            before = None
            log.info("incident opened", fingerprint=fingerprint, incident=found.number)
            self._on_result("created")
        else:
            note = further_alerts_note(known.alerts, known.held, before)
            await self._unless_refused("noted", fingerprint, self._tickets.add_work_note(found, note))
        self._known[fingerprint] = HeldAlerts(self._clock())
        self._checked[fingerprint] = self._clock()
        await self._memory.put(fingerprint, remember(found, known.alerts[-1], partition, before, self._now_ms()))

    async def _resolve(self, alert: Alert, known: HeldAlerts | None) -> None:
        before = self._memory.all().get(alert.fingerprint)
        if before is not None and self._still_on(alert.fingerprint):
            # Another worker still reports the cause; ``look_after`` resolves the incident later.
            await self._memory.put(alert.fingerprint, replace(before, over_ms=alert.at_ms))
            self._on_result("held")
            return
        found = await self._find(alert.fingerprint, before)
        await self._end(alert.fingerprint, found, end_note(alert, known.held if known else 0, before))

    async def _end(self, fingerprint: str, found: Incident | None, text: str) -> None:
        if found is None:
            self._on_result("nothing-open")
        else:
            await self._unless_refused("resolved", fingerprint, self._tickets.resolve(found, text))
            log.info("incident is over", fingerprint=fingerprint, incident=found.number)
        await self._forget(fingerprint)

    async def _find(self, fingerprint: str, before: Remembered | None) -> Incident | None:
        """The open incident of a fingerprint: the one that a search finds, else the remembered one."""
        found = await self._tickets.find_open(correlation_id(self._group, fingerprint))
        if found is not None or before is None:
            return found
        return before.incident if await self._counts_as_open(before) else None

    async def _counts_as_open(self, remembered: Remembered) -> bool:
        is_open = await self._tickets.is_open(remembered.incident)
        return self._now_ms() - remembered.opened_ms < UNREADABLE_MS if is_open is None else is_open

    async def _unless_refused(self, result: str, fingerprint: str, request: Awaitable[object]) -> None:
        """Await a request that adds to an incident. A refusal is logged, not retried: it would be refused again."""
        try:
            await request
        except TicketError as error:
            if not error.refused:
                raise
            log.warning("incident note refused", fingerprint=fingerprint, problem=str(error))
            result = "refused"
        self._on_result(result)

    async def _touch(self, alert: Alert, partition: int) -> None:
        """Remember that there was a further alert, at most once every ``TOUCH_MS``."""
        before = self._memory.all().get(alert.fingerprint)
        if before is not None and self._now_ms() - before.seen_ms >= TOUCH_MS:
            touched = remember(before.incident, alert, partition, before, self._now_ms())
            await self._memory.put(alert.fingerprint, touched)

    async def _forget(self, fingerprint: str) -> None:
        # If the cause comes back, its first alert is reported at once.
        self._known.pop(fingerprint, None)
        self._checked.pop(fingerprint, None)
        if fingerprint in self._memory.all():
            await self._memory.put(fingerprint, None)

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
            try:
                await self.flush_due()
                await self.look_after()
            except Exception as error:
                log.error("incidents not looked after because of a bug", exc_info=error)


@asynccontextmanager
async def open_desk(
    settings: ServiceNowSettings,
    group: str,
    *,
    where: str = "",
    memory: IncidentMemory | None = None,
    owns: Callable[[int], bool] = lambda partition: True,
    still_on: Callable[[str], bool | None] = lambda fingerprint: None,
    on_result: Callable[[str], None] = lambda result: None,
) -> AsyncIterator[IncidentDesk]:
    """The desk that the settings demand: with ServiceNow, or with the log if SERVICENOW_URL is not set."""
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
                where=where,
                resolve_minutes=settings.resolve_minutes,
                memory=memory,
                owns=owns,
                still_on=still_on,
                on_result=on_result,
            )
        )
