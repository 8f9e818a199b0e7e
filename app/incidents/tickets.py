"""What the incident desk needs of a ticket system."""

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
    """The ticket system did not do what it was asked to.

    ``retry_after``: seconds, when it asks for a pause. ``refused``: it understood and will not do it, so asking again
    is of no use until somebody changes something.
    """

    def __init__(self, reason: str, retry_after: float | None = None, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.refused = refused


class TicketSystem(Protocol):
    """All methods raise ``TicketError``."""

    async def find_open(self, correlation_id: str) -> Incident | None:
        """The newest incident with this correlation ID that is not resolved, closed or cancelled."""

    async def is_open(self, incident: Incident) -> bool | None:
        """Whether an incident is neither resolved, closed nor cancelled; None: we may not read it."""

    async def create(self, fields: Mapping[str, str]) -> Incident:
        """Open an incident."""

    async def add_work_note(self, incident: Incident, text: str) -> None:
        """Add a work note."""

    async def resolve(self, incident: Incident, text: str) -> bool:
        """Add a work note and resolve the incident; False: the note alone was taken."""
