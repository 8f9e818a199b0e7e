"""The text of an incident: what happened, what it means, what to do. It holds no personal data. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.delivery.alert import Alert, Severity
from app.delivery.counts import EVENT_ENTITY
from app.delivery.errors import REGISTRY
from app.incidents.ending import moment
from app.incidents.memory import Remembered
from app.profile.masking import mask

_SUMMARY_LENGTH = 160
_MESSAGE_LENGTH = 1000
_NOTHING = ("", "-")

_DEAD_LETTERS = "The program does not resolve this incident, because its dead letters need a person."
_RESOLVED_BY_ITSELF = "The program resolves this incident when the cause is over."


def new_incident(
    correlation: str, alerts: Sequence[Alert], count: int, assignment_group: str | None, where: str = ""
) -> dict[str, str]:
    """The fields of a new incident (ServiceNow's names).

    Args:
        correlation: its ``correlation_id``.
        alerts: the first few of its alerts, at least one.
        count: the number of its alerts so far.
        assignment_group: its assignment group.
        where: group and topics.
    """
    alert = alerts[-1]
    entry = REGISTRY.get(alert.reason)
    meaning = entry.meaning if entry else "This version does not know the code."
    remedy = entry.remedy if entry else "See the worker's log."
    lines = [
        f"Reason: {alert.reason}. {meaning}",
        f"What to do: {remedy}",
        *_about(alert),
        f"Where: {where}" if where else "",
        f"Since: {moment(min(one.began_ms for one in alerts))}",
        *_waiting(alert),
        f"Message: {sentence(_message(alert))}",
        *([f"Alerts so far: {count}"] if count > 1 else []),
        *_events(alerts),
        f"More about the code: profile-sync errors {alert.reason}" if entry else "",
        "Current state: profile-sync status",
        "Further alerts of this kind become work notes of this incident.",
        _DEAD_LETTERS if alert.severity is Severity.FAILED else _RESOLVED_BY_ITSELF,
    ]
    fields = {
        "short_description": _bounded(f"profile-sync: {' '.join([alert.reason, *_place(alert)])}: {meaning}"),
        "description": "\n".join(line for line in lines if line),
        "urgency": alert.severity.urgency,
        "impact": alert.severity.impact,
        "category": "software",
        "correlation_id": correlation,
        "correlation_display": "profile-sync",
    }
    if assignment_group is not None:
        fields["assignment_group"] = assignment_group
    return fields


def further_alerts_note(alerts: Sequence[Alert], count: int, before: Remembered | None) -> str:
    """A work note: how many alerts came since the last report. ``before``: what is remembered about the incident."""
    last = alerts[-1]
    noun = "alert" if count == 1 else "alerts"
    began = [one.began_ms for one in alerts] + ([before.since_ms] if before else [])
    return "\n".join(
        [
            f"{count} more {noun} of {last.reason}.",
            f"Since: {moment(min(began))}",
            *_waiting(last),
            f"Message: {sentence(_message(last))}",
            *_events(alerts),
        ]
    )


def end_note(alert: Alert, count: int, before: Remembered | None) -> str:
    """A work note: the cause is over. ``count``: alerts since the last report."""
    more = f" Alerts since the last note: {count}." if count else ""
    began = f" It began {moment(before.since_ms)}." if before else ""
    return f"Over since {moment(alert.at_ms)}: {sentence(_message(alert))}{began}{more}\n{_AFTERWARDS}"


def silent_end_note(why: str, remembered: Remembered) -> str:
    """A work note: the cause has not been reported for a while."""
    return f"{why} It began {moment(remembered.since_ms)}.\n{_AFTERWARDS}"


_AFTERWARDS = "Dead letters still need a person: profile-sync status counts them."


def sentence(text: str) -> str:
    """A text that ends like a sentence.

    >>> sentence("no answer"), sentence("No answers."), sentence("Is it there?"), sentence("")
    ('no answer.', 'No answers.', 'Is it there?', '')
    """
    text = text.rstrip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def _bounded(text: str) -> str:
    return text if len(text) <= _SUMMARY_LENGTH else f"{text[: _SUMMARY_LENGTH - 3]}..."


def _place(alert: Alert) -> list[str]:
    """What failed, for a title: ``(UPDATE pet)``; empty if the alert is not about a single kind of event."""
    known = [part for part in (alert.operation, alert.entity) if part not in (*_NOTHING, EVENT_ENTITY)]
    return [f"({' '.join(known)})"] if known else []


def _about(alert: Alert) -> list[str]:
    entity = "" if alert.entity == EVENT_ENTITY else alert.entity
    facts = {"operation": alert.operation, "entity": entity, "market": alert.market[:50]}
    known = ", ".join(f"{name} {value}" for name, value in facts.items() if value not in _NOTHING)
    return [f"Concerns: {known}"] if known else []


def _message(alert: Alert) -> str:
    return mask(alert.message[:_MESSAGE_LENGTH], ())


def _waiting(alert: Alert) -> list[str]:
    return [f"Waiting events: {alert.waiting}"] if alert.waiting else []


def _events(alerts: Sequence[Alert]) -> list[str]:
    ids = list(dict.fromkeys(alert.event_id[:50] for alert in alerts if alert.event_id not in _NOTHING))
    return [f"Some of the events (partition-offset in the main topic): {', '.join(ids)}"] if ids else []
