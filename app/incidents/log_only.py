"""Incidents without a ticket system: they are written to the log."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from app.incidents.tickets import Incident

log = structlog.get_logger(__name__)

NUMBER = "log"


class LogOnly:
    """A ``TicketSystem`` that logs incidents, and remembers them for the life of the process."""

    def __init__(self) -> None:
        self._open: dict[str, Incident] = {}

    async def find_open(self, correlation_id: str) -> Incident | None:
        """The open incident that was logged since the start."""
        return self._open.get(correlation_id)

    async def is_open(self, incident: Incident) -> bool | None:
        """Always true: callers ask only about incidents that they remember, and a log has no way to close one."""
        return True

    async def create(self, fields: Mapping[str, str]) -> Incident:
        """Log an incident."""
        correlation = fields["correlation_id"]
        log.error("incident", fingerprint=correlation, summary=fields["short_description"], text=fields["description"])
        self._open[correlation] = Incident(correlation, NUMBER)
        return self._open[correlation]

    async def add_work_note(self, incident: Incident, text: str) -> None:
        """Log a note."""
        log.warning("incident note", fingerprint=incident.sys_id, text=text)

    async def resolve(self, incident: Incident, text: str) -> bool:
        """Log the end."""
        log.warning("incident resolved", fingerprint=incident.sys_id, text=text)
        self._open.pop(incident.sys_id, None)
        return True
