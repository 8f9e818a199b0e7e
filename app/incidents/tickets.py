"""What the incident desk needs from a ticket system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident: its key for the API and the number that people use."""

    sys_id: str
    number: str


class TicketError(Exception):
    """A request to the ticket system failed.

    ``retry_after``: the pause in seconds that it asks for. ``refused``: it understood the request and refused it, so a
    retry is useless until a person changes something.
    """

    def __init__(self, reason: str, retry_after: float | None = None, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.refused = refused


class TicketSystem(Protocol):
    """A ticket system. All methods may raise ``TicketError``."""

    async def find_open(self, correlation_id: str) -> Incident | None:
        """The newest incident with this correlation ID that is not resolved, closed or cancelled."""

    async def is_open(self, incident: Incident) -> bool | None:
        """Whether an incident is neither resolved, closed nor cancelled; None if the user may not read it."""

    async def create(self, fields: Mapping[str, str]) -> Incident:
        """Open an incident."""

    async def add_work_note(self, incident: Incident, text: str) -> None:
        """Add a work note."""

    async def resolve(self, incident: Incident, text: str) -> bool:
        """Add a work note and resolve the incident; False if only the note was accepted."""
