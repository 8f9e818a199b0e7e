"""The desk that the settings demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from app.incidents.desk import IncidentDesk
from app.incidents.log_only import LogOnly
from app.incidents.memory import IncidentMemory
from app.incidents.open_letters import OpenLetters
from app.incidents.servicenow import ServiceNow
from app.incidents.ticket_text import TicketOrigin
from app.incidents.tickets import TicketSystem
from app.settings import ServiceNowSettings


@asynccontextmanager
async def open_desk(
    settings: ServiceNowSettings,
    group: str,
    *,
    where: str = "",
    page: str | None = None,
    letters: OpenLetters | None = None,
    memory: IncidentMemory | None = None,
    owns: Callable[[int], bool] = lambda partition: True,
    still_on: Callable[[str], bool | None] = lambda fingerprint: None,
    on_result: Callable[[str], None] = lambda result: None,
) -> AsyncIterator[IncidentDesk]:
    """The desk, with ServiceNow, or with the log if SERVICENOW_URL is not set. ``page``: see WEB_PUBLIC_URL."""
    origin = TicketOrigin(settings.assignment_group, where, (page or "").rstrip("/"), settings.resolve_minutes)
    async with AsyncExitStack() as stack:
        tickets: TicketSystem = LogOnly()
        if settings.url is not None:
            tickets = await stack.enter_async_context(ServiceNow(settings))
        yield await stack.enter_async_context(
            IncidentDesk(
                tickets,
                group,
                note_every_seconds=settings.note_every_seconds,
                origin=origin,
                letters=letters,
                memory=memory,
                owns=owns,
                still_on=still_on,
                on_result=on_result,
            )
        )
