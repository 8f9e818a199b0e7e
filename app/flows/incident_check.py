"""``check`` of ServiceNow: whether its incidents can be read and, if asked, opened and resolved."""

from __future__ import annotations

from app.delivery.installation import CheckLine, Part, PartState
from app.incidents.servicenow import ServiceNow
from app.incidents.tickets import TicketError
from app.incidents.trial import Trial, open_and_resolve, search
from app.settings import ServiceNowSettings

REQUEST_SECONDS = 15.0


async def incident_line(settings: ServiceNowSettings, group: str, *, test_incident: bool) -> CheckLine:
    """The line of ServiceNow.

    Raises:
        ConfigurationError: the settings cannot be used.
    """
    if settings.url is None:
        message = "SERVICENOW_URL is not set, so incidents are only logged"
        return CheckLine(Part.SERVICENOW, PartState.NOT_CONFIGURED, message)
    try:
        async with ServiceNow(settings, timeout_seconds=REQUEST_SECONDS) as tickets:
            if test_incident:
                return trial_line(await open_and_resolve(tickets, group, settings.assignment_group))
            earlier = await search(tickets, group)
    except TicketError as error:
        return CheckLine(Part.SERVICENOW, PartState.WRONG, str(error))
    if earlier is not None:
        message = f"test incident {earlier.number} is still open."
        return CheckLine(Part.SERVICENOW, PartState.NOTE, message, "profile-sync check --test-incident resolves it.")
    message = "incidents can be searched; --test-incident opens and resolves one"
    return CheckLine(Part.SERVICENOW, PartState.OK, message)


def trial_line(trial: Trial) -> CheckLine:
    """What a test incident showed."""
    name = f"incident {trial.number}".rstrip()
    if not trial.resolved:
        why = f": {trial.problem}" if trial.problem else ", only a note was added"
        return CheckLine(
            Part.SERVICENOW,
            PartState.WRONG,
            f"{name} was opened, but not resolved{why}.",
            "Close it by hand. Let the user change the state, and set in SERVICENOW_FIELDS what resolving demands "
            "(close_code, close_notes).",
        )
    if not trial.readable:
        return CheckLine(
            Part.SERVICENOW,
            PartState.WRONG,
            f"{name} was opened and resolved, but the user may not read it.",
            "Let the user read incidents. Otherwise a restarted worker may open a second incident of the same cause.",
        )
    return CheckLine(Part.SERVICENOW, PartState.OK, f"{name} was opened and resolved")
