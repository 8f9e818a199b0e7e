"""The incident desk: one open incident for each fingerprint, with a limited number of notes.

The first alert of a fingerprint opens an incident, unless one is already open. The desk asks the ticket system first,
so a restart opens no second incident. It also remembers what it opened, because its user may not be allowed to read
incidents. Further alerts are counted and become one work note at intervals. A closed incident is not reopened: the next
alert that is reported opens a new one. When the cause is over, the desk adds a work note and sets the state "resolved".

An incident about dead letters gives their number from the index, and is over when none of them is open any more.

The ticket system never stops the sync. An alert that cannot be reported waits. An alert that repeatedly meets a bug is
logged and dropped. ``handle`` returns when the ticket system has the alert, or when an incident is open and the alert
is counted for its next note. A crash loses that count, but never an incident: when the index has dead letters that the
ticket does not know, the next note gives their number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from app.delivery.alert import Alert, AlertKind, UnreadableAlert
from app.incidents.ending import end_reason
from app.incidents.memory import IncidentMemory, ProcessMemory, Remembered, remember
from app.incidents.open_incidents import OpenIncidents
from app.incidents.open_letters import (
    INDEX_LAG_MS,
    OpenCount,
    OpenLetters,
    Told,
    UncountedLetters,
    has_letters,
    is_untold,
)
from app.incidents.pacing import AlertAction, HeldAlerts, decide, is_due
from app.incidents.rest import Rest
from app.incidents.ticket_text import (
    TicketOrigin,
    count_note,
    end_note,
    further_alerts_note,
    new_incident,
    over_but_open_note,
    silent_end_note,
)
from app.incidents.tickets import Incident, TicketError, TicketSystem
from app.observe.background import BackgroundTask

log = structlog.get_logger(__name__)

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
        origin: what all tickets say. Its ``resolve_minutes``: an incident is over after this time without an alert.
        letters: counts open dead letters.
        memory: where opened incidents are remembered.
        owns: whether this worker handles the alerts of a partition.
        still_on: whether a worker reports that a cause still lasts; None: workers do not report such a cause.
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
        origin: TicketOrigin | None = None,
        letters: OpenLetters | None = None,
        memory: IncidentMemory | None = None,
        owns: Callable[[int], bool] = lambda partition: True,
        still_on: Callable[[str], bool | None] = lambda fingerprint: None,
        on_result: Callable[[str], None] = lambda result: None,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._incidents = OpenIncidents(tickets, group, now_ms, on_result)
        self._note_every = note_every_seconds
        self._origin = TicketOrigin() if origin is None else origin
        self._resolve_ms = self._origin.resolve_minutes * 60_000
        self._letters = UncountedLetters() if letters is None else letters
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
        self._rest = Rest(clock)
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
            bugs = 0
            while True:
                try:
                    if alert.kind is AlertKind.RESOLVE:
                        await self._resolve(alert, known, partition)
                    else:
                        await self._report(alert.fingerprint, counted, partition)
                except TicketError as error:
                    await self._pause(alert.fingerprint, error)
                except Exception as error:
                    bugs += 1
                    log.error("incident not reported because of a bug", fingerprint=alert.fingerprint, exc_info=error)
                    if bugs >= BUG_TRIES:
                        self._on_result("dropped")
                        return
                    await self._pause(alert.fingerprint, TicketError(type(error).__name__))
                else:
                    return

    async def flush_due(self) -> None:
        """Report counted alerts whose note is due. Alerts that cannot be reported now stay counted."""
        if self._rest.is_over:
            await self._flush(lambda known: is_due(known, self._clock(), self._note_every))

    async def look_after(self) -> None:
        """Resolve incidents that are over without a message, tell dead letters whose alerts were lost, and forget
        incidents that a person closed."""
        async with self._one:
            for fingerprint, remembered in self._memory.all().items():
                if self._rest.is_over and self._owns(remembered.partition):
                    await self._try(fingerprint, self._look_after(fingerprint, remembered))

    async def _look_after(self, fingerprint: str, remembered: Remembered) -> None:
        letters = await self._letters.of(fingerprint) if has_letters(remembered.severity, fingerprint) else None
        # Alerts from before this worker's start may have been missed, so the silence counts from its start.
        seen = replace(remembered, seen_ms=max(remembered.seen_ms, self._started_ms))
        why = end_reason(seen, self._still_on(fingerprint), letters, self._now_ms(), self._resolve_ms)
        if why is not None:
            found = await self._incidents.find(fingerprint, remembered)
            await self._end(fingerprint, found, silent_end_note(why, remembered))
        elif letters is not None and is_untold(remembered.told, letters) and self._may_tell(fingerprint, remembered):
            await self._tell(fingerprint, remembered, letters)
        elif self._clock() - self._checked.get(fingerprint, float("-inf")) >= CHECK_SECONDS:
            self._checked[fingerprint] = self._clock()
            is_open = await self._incidents.counts_as_open(remembered)
            self._rest.answered()
            if not is_open:
                log.info("an incident was closed", fingerprint=fingerprint, incident=remembered.incident.number)
                await self._forget(fingerprint)

    def _may_tell(self, fingerprint: str, remembered: Remembered) -> bool:
        known, told = self._known.get(fingerprint), remembered.told
        in_process = known is None or (not known.held and is_due(known, self._clock(), self._note_every))
        return in_process and (told is None or self._now_ms() - told.at_ms >= self._note_every * 1000)

    async def _tell(self, fingerprint: str, remembered: Remembered, letters: OpenCount) -> None:
        found = await self._incidents.find(fingerprint, remembered)
        if found is None:
            await self._forget(fingerprint)
            return
        await self._incidents.note(fingerprint, found, count_note(letters))
        self._rest.answered()
        told = Told(self._now_ms(), letters.open, letters.newest_ms or 0)
        await self._memory.put(fingerprint, replace(remembered, incident=found, told=told))

    async def _flush(self, wanted: Callable[[HeldAlerts], bool]) -> None:
        async with self._one:
            for fingerprint, known in list(self._known.items()):
                if known.held and wanted(known):
                    remembered = self._memory.all().get(fingerprint)
                    partition = remembered.partition if remembered else 0
                    if not await self._try(fingerprint, self._report(fingerprint, known, partition)):
                        return

    async def _try(self, fingerprint: str, request: Awaitable[None]) -> bool:
        """Await what can be done later too; False if the ticket system is in trouble."""
        try:
            await request
        except TicketError as error:
            self._on_result("failed")
            wait = round(self._rest.failed(error), 1)
            log.warning("incident not updated yet", fingerprint=fingerprint, problem=str(error), again_in_seconds=wait)
            return False
        return True

    async def _report(self, fingerprint: str, known: HeldAlerts, partition: int) -> None:
        before = self._memory.all().get(fingerprint)
        found = await self._incidents.find(fingerprint, before)
        letters = await self._count(known.alerts[-1])
        if found is None:
            correlation = self._incidents.correlation(fingerprint)
            fields = new_incident(correlation, known.alerts, known.held, self._origin, letters)
            found = await self._incidents.create(fingerprint, fields)
            before = None
        else:
            note = further_alerts_note(known.alerts, known.held, before, letters)
            await self._incidents.note(fingerprint, found, note)
        self._rest.answered()
        self._known[fingerprint] = HeldAlerts(self._clock())
        self._checked[fingerprint] = self._clock()
        remembered = remember(found, known.alerts[-1], partition, before, self._now_ms())
        told = self._told(known.alerts, known.held, remembered.told, letters)
        await self._memory.put(fingerprint, replace(remembered, told=told))

    async def _count(self, alert: Alert) -> OpenCount | None:
        """The open dead letters after an alert; None: not known, or not all are in the index yet."""
        if not has_letters(alert.severity, alert.fingerprint):
            return None
        letters = await self._letters.of(alert.fingerprint)
        behind = letters is not None and not letters.open and self._now_ms() - alert.at_ms < INDEX_LAG_MS
        return None if behind else letters

    def _told(self, alerts: Sequence[Alert], count: int, before: Told | None, letters: OpenCount | None) -> Told | None:
        """What the ticket says of dead letters now: their number in the index, or else the number of alerts."""
        if not has_letters(alerts[-1].severity, alerts[-1].fingerprint):
            return None
        newest = max(alert.at_ms for alert in alerts)
        if letters is None:
            return Told(self._now_ms(), (before.open if before else 0) + count, newest)
        return Told(self._now_ms(), letters.open, max(newest, letters.newest_ms or 0))

    async def _resolve(self, alert: Alert, known: HeldAlerts | None, partition: int) -> None:
        before = self._memory.all().get(alert.fingerprint)
        letters = await self._count(alert)
        is_open = letters is not None and letters.open > 0
        if before is not None and (self._still_on(alert.fingerprint) or (is_open and before.over_ms is not None)):
            # Another worker still reports the cause, or dead letters are open: ``look_after`` resolves it later.
            await self._memory.put(alert.fingerprint, replace(before, over_ms=alert.at_ms))
            self._on_result("held")
            return
        count = known.held if known else 0
        found = await self._incidents.find(alert.fingerprint, before)
        if found is None or letters is None or not is_open:
            await self._end(alert.fingerprint, found, end_note(alert, count, before))
            return
        note = over_but_open_note(alert, count, before, letters, self._origin)
        await self._incidents.note(alert.fingerprint, found, note)
        self._rest.answered()
        self._known[alert.fingerprint] = HeldAlerts(self._clock())
        remembered = remember(found, alert, partition, before, self._now_ms())
        told = self._told((alert,), count, None, letters)
        await self._memory.put(alert.fingerprint, replace(remembered, over_ms=alert.at_ms, told=told))

    async def _end(self, fingerprint: str, found: Incident | None, text: str) -> None:
        if found is None:
            self._on_result("nothing-open")
        else:
            await self._incidents.resolve(fingerprint, found, text)
        self._rest.answered()
        await self._forget(fingerprint)

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

    async def _pause(self, fingerprint: str, error: TicketError) -> None:
        self._on_result("failed")
        wait = self._rest.failed(error)
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
