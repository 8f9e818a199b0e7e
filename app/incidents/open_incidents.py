"""The open incident of a fingerprint: how it is found, opened, added to and resolved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog

from app.delivery.alert import correlation_id
from app.incidents.ending import UNREADABLE_MS
from app.incidents.memory import Remembered
from app.incidents.tickets import Incident, TicketError, TicketSystem

log = structlog.get_logger(__name__)


class OpenIncidents:
    """The incidents of one group in the ticket system. All methods but ``correlation`` may raise ``TicketError``.

    Args:
        group: the consumer group; every correlation ID begins with its name.
        now_ms: wall clock.
        on_result: called with the result of a request.
    """

    def __init__(
        self, tickets: TicketSystem, group: str, now_ms: Callable[[], int], on_result: Callable[[str], None]
    ) -> None:
        self._tickets = tickets
        self._group = group
        self._now_ms = now_ms
        self._on_result = on_result

    def correlation(self, fingerprint: str) -> str:
        """The ``correlation_id`` of a fingerprint."""
        return correlation_id(self._group, fingerprint)

    async def find(self, fingerprint: str, before: Remembered | None) -> Incident | None:
        """The open incident of a fingerprint: the one that a search finds, else the remembered one."""
        found = await self._tickets.find_open(self.correlation(fingerprint))
        if found is not None or before is None:
            return found
        return before.incident if await self.counts_as_open(before) else None

    async def counts_as_open(self, remembered: Remembered) -> bool:
        """Whether a remembered incident is open; for a while also if the user may not read it."""
        is_open = await self._tickets.is_open(remembered.incident)
        return self._now_ms() - remembered.opened_ms < UNREADABLE_MS if is_open is None else is_open

    async def create(self, fingerprint: str, fields: Mapping[str, str]) -> Incident:
        """Open an incident."""
        opened = await self._tickets.create(fields)
        log.info("incident opened", fingerprint=fingerprint, incident=opened.number)
        self._on_result("created")
        return opened

    async def note(self, fingerprint: str, incident: Incident, text: str) -> None:
        """Add a work note."""
        await self._unless_refused("noted", fingerprint, self._tickets.add_work_note(incident, text))

    async def resolve(self, fingerprint: str, incident: Incident, text: str) -> None:
        """Add a work note and resolve the incident."""
        await self._unless_refused("resolved", fingerprint, self._tickets.resolve(incident, text))
        log.info("incident is over", fingerprint=fingerprint, incident=incident.number)

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
