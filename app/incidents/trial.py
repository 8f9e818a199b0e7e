"""A test incident, opened and resolved at once. It shows that the rights and the mandatory fields are as needed."""

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.alert import correlation_id
from app.incidents.tickets import Incident, TicketError, TicketSystem

_FINGERPRINT = "CHECK:-:-"
_OVER = "The test is over."


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a test incident.

    ``number``: the number that people use. ``readable``: whether the user may read it. ``resolved``: whether it was
    resolved; else it is still open. ``problem``: which request failed after it was opened.
    """

    number: str
    readable: bool = False
    resolved: bool = False
    problem: str = ""


async def search(tickets: TicketSystem, group: str) -> Incident | None:
    """The test incident of a group that is still open, because a test was interrupted.

    Raises:
        TicketError: there was no answer, or the search was refused.
    """
    return await tickets.find_open(correlation_id(group, _FINGERPRINT))


async def open_and_resolve(tickets: TicketSystem, group: str, assignment_group: str | None) -> Trial:
    """Open an incident and resolve it. An earlier one that is still open is resolved first.

    Raises:
        TicketError: a request failed before the incident was opened.
    """
    if (earlier := await search(tickets, group)) is not None:
        await tickets.resolve(earlier, _OVER)
    fields = {
        "short_description": "profile-sync: test incident, nothing to do",
        "description": "The command profile-sync check --test-incident opened this incident and resolves it at once.",
        "urgency": "3",
        "impact": "3",
        "category": "software",
        "correlation_id": correlation_id(group, _FINGERPRINT),
        "correlation_display": "profile-sync",
    }
    if assignment_group is not None:
        fields["assignment_group"] = assignment_group
    incident = await tickets.create(fields)
    readable = False
    try:
        readable = await tickets.is_open(incident) is not None
        return Trial(incident.number, readable, await tickets.resolve(incident, _OVER))
    except TicketError as error:
        return Trial(incident.number, readable, problem=str(error))
