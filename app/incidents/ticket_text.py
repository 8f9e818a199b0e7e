"""The words of an incident: what happened, what it means, what to do. No personal data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from app.domain.errors import REGISTRY
from app.domain.masking import mask
from app.incidents.alert import Alert

_SUMMARY_LENGTH = 160
NO_EVENT = ("", "-")


def new_incident(correlation: str, alerts: Sequence[Alert], count: int, assignment_group: str | None) -> dict[str, str]:
    """The fields of a new incident (ServiceNow's names).

    Args:
        correlation: its ``correlation_id``.
        alerts: the first few alerts that it is about, at least one.
        count: how many there are by now.
        assignment_group: who gets it.
    """
    alert = alerts[0]
    entry = REGISTRY.get(alert.reason)
    meaning = entry.meaning if entry else "No such code in this version's registry."
    remedy = entry.remedy if entry else "Look at the worker's log."
    lines = [
        f"Reason: {alert.reason}. {meaning}",
        f"What to do: {remedy}",
        f"Operation: {alert.operation}, entity: {alert.entity}, market: {alert.market}",
        f"First seen: {_time(alert)}",
        f"Message: {mask(alert.message, ())}",
        *([f"Alerts so far: {count}"] if count > 1 else []),
        *_events(alerts),
        "More of the same become work notes of this incident.",
    ]
    fields = {
        "short_description": f"profile-sync: {alert.reason} ({alert.operation} {alert.entity}): {meaning}"[
            :_SUMMARY_LENGTH
        ],
        "description": "\n".join(lines),
        "urgency": alert.severity.urgency,
        "impact": alert.severity.impact,
        "category": "software",
        "correlation_id": correlation,
        "correlation_display": "profile-sync",
    }
    if assignment_group is not None:
        fields["assignment_group"] = assignment_group
    return fields


def more_of_the_same(alerts: Sequence[Alert], count: int) -> str:
    """A work note: how many alerts came since the last one."""
    last = alerts[-1]
    noun = "alert" if count == 1 else "alerts"
    lines = [f"{count} more {noun} of {last.reason}.", f"Message: {mask(last.message, ())}", *_events(alerts)]
    return "\n".join(lines)


def over(alert: Alert, count: int) -> str:
    """A work note: the cause is gone. ``count``: alerts since the last note that were not reported yet."""
    more = f" {count} more alerts came before." if count else ""
    return (
        f"Over since {_time(alert)}: {mask(alert.message, ())}{more}\n"
        "This incident is not closed automatically: see to the dead letters, if any (profile-sync dlq list)."
    )


def _events(alerts: Sequence[Alert]) -> list[str]:
    ids = list(dict.fromkeys(alert.event_id for alert in alerts if alert.event_id not in NO_EVENT))
    if not ids:
        return []
    return [f"Events (some of them): {', '.join(ids)}", f"To look at one: profile-sync dlq show {ids[0]}"]


def _time(alert: Alert) -> str:
    return datetime.fromtimestamp(alert.at_ms / 1000, UTC).isoformat(timespec="seconds")
