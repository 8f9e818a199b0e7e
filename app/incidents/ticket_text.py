"""The text of an incident, for a person who is on call: what happened, what it means, what to do, what to type.

It holds no personal data. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.delivery.alert import Alert, Severity
from app.delivery.counts import EVENT_ENTITY
from app.delivery.errors import REGISTRY
from app.incidents.ending import moment
from app.incidents.memory import Remembered
from app.incidents.open_letters import OpenCount, has_letters, letter_filter, options_of, query_of
from app.profile.masking import mask

_SUMMARY_LENGTH = 160
_MESSAGE_LENGTH = 1000
_NOTHING = ("", "-")

_DONE_BY_HAND = "The program does not resolve this incident: resolve it when you have done what it asks for."
_RESOLVED_BY_ITSELF = "The program resolves this incident when the cause is over."


@dataclass(frozen=True, slots=True)
class TicketOrigin:
    """What is the same in all tickets. ``where``: group and topics. ``page``: the address of the page, without a slash.

    ``resolve_minutes``: 0: incidents about dead letters are not resolved by the program.
    """

    assignment_group: str | None = None
    where: str = ""
    page: str = ""
    resolve_minutes: float = 0.0


def new_incident(
    correlation: str, alerts: Sequence[Alert], count: int, origin: TicketOrigin, letters: OpenCount | None = None
) -> dict[str, str]:
    """The fields of a new incident (ServiceNow's names).

    Args:
        correlation: its ``correlation_id``.
        alerts: the first few of its alerts, at least one.
        count: the number of its alerts so far.
        letters: its open dead letters; None: not known, or it is not about dead letters.
    """
    alert = alerts[-1]
    entry = REGISTRY.get(alert.reason)
    meaning = entry.meaning if entry else "This version does not know the code."
    remedy = entry.remedy if entry else "See the worker's log."
    began = min(one.began_ms for one in alerts)
    lines = [
        _headline(alert, began, count, letters),
        f"{alert.reason}: {meaning} What to do: {remedy}",
        "",
        "Look closer:",
        *_commands(alert, origin),
        "",
        _last_message(alert),
        *_events(alerts),
        *([f"Where: {origin.where}"] if origin.where else []),
        "Further alerts of this kind become work notes. The newest note has the present numbers.",
        _end(alert, origin),
    ]
    fields = {
        "short_description": _bounded(f"profile-sync: {' '.join([alert.reason, *_place(alert)])}: {meaning}"),
        "description": "\n".join(lines),
        "urgency": alert.severity.urgency,
        "impact": alert.severity.impact,
        "category": "software",
        "correlation_id": correlation,
        "correlation_display": "profile-sync",
    }
    if origin.assignment_group is not None:
        fields["assignment_group"] = origin.assignment_group
    return fields


def further_alerts_note(
    alerts: Sequence[Alert], count: int, before: Remembered | None, letters: OpenCount | None = None
) -> str:
    """A work note: how many alerts came since the last report, and how many dead letters are open now.

    ``before``: what is remembered about the incident.
    """
    last = alerts[-1]
    noun = "alert" if count == 1 else "alerts"
    began = [one.began_ms for one in alerts] + ([before.since_ms] if before else [])
    return "\n".join(
        [
            *([_now_open(letters)] if letters else []),
            f"{count:,} more {noun} of {last.reason} since the last note.",
            *([] if letters else [f"Since: {moment(min(began))}"]),
            *_waiting(last),
            _last_message(last),
            *_events(alerts),
        ]
    )


def count_note(letters: OpenCount) -> str:
    """A work note: how many dead letters are open now, if the alerts about them were not counted."""
    return _now_open(letters)


def end_note(alert: Alert, count: int, before: Remembered | None) -> str:
    """A work note: the cause is over. ``count``: alerts since the last report."""
    return f"{_over(alert, before)}{_since_last_note(count)}{_afterwards(alert.severity)}"


def over_but_open_note(
    alert: Alert, count: int, before: Remembered | None, letters: OpenCount, origin: TicketOrigin
) -> str:
    """A work note: the cause is over, but its dead letters are open."""
    lines = [
        f"{_over(alert, before)}{_since_last_note(count)}",
        f"{_now_open(letters)} Redrive or discard them; then the program resolves this incident.",
        *_commands(alert, origin),
    ]
    return "\n".join(lines)


def silent_end_note(why: str, remembered: Remembered) -> str:
    """A work note: the cause has not been reported for a while."""
    return f"{why} It began {moment(remembered.since_ms)}.{_afterwards(remembered.severity)}"


def sentence(text: str) -> str:
    """A text that ends like a sentence.

    >>> sentence("no answer"), sentence("No answers."), sentence("Is it there?"), sentence("")
    ('no answer.', 'No answers.', 'Is it there?', '')
    """
    text = text.rstrip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def _headline(alert: Alert, began: int, count: int, letters: OpenCount | None) -> str:
    """What failed, how often and since when, on one line."""
    subject = _subject(alert)
    if letters is not None and letters.open:
        return f"{subject}: {_letters(letters)} {_be(letters.open)} open, {_span(letters)}"
    said = [f"{subject}, since {moment(began)}"]
    said += [f"{count:,} alerts so far"] if count > 1 else []
    said += [f"{alert.waiting:,} {_noun(alert.waiting, 'event')} waiting"] if alert.waiting else []
    return f"{'; '.join(said)}."


def _subject(alert: Alert) -> str:
    """What failed; the reason if the alert is not about a single kind of event."""
    if alert.severity is Severity.INVALID:
        return "Invalid events"
    operation = "" if alert.operation in _NOTHING else alert.operation
    entity = "" if alert.entity in (*_NOTHING, EVENT_ENTITY) else alert.entity
    if alert.severity is not Severity.FAILED or not (operation or entity):
        return alert.reason
    return f"{operation or 'Calls'} failed{f' at entity {entity}' if entity else ''}"


def _now_open(letters: OpenCount) -> str:
    if not letters.open:
        return "Now: no dead letter of this kind is open."
    return f"Now: {_letters(letters)} of this kind {_be(letters.open)} open, {_span(letters)}"


def _letters(letters: OpenCount) -> str:
    return f"{letters.open:,} dead {_noun(letters.open, 'letter')}"


def _span(letters: OpenCount) -> str:
    times = [moment(ms) for ms in (letters.oldest_ms, letters.newest_ms) if ms is not None]
    when = f", from {times[0]} to {times[-1]}" if times else ""
    at_most = "" if letters.consumers_exact else "at most "
    return f"on {at_most}{letters.consumers:,} {_noun(letters.consumers, 'consumer')}{when}."


def _noun(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _commands(alert: Alert, origin: TicketOrigin) -> list[str]:
    """What to type, each on a line of its own, and the address of the page."""
    known = [f"profile-sync errors {alert.reason}"] if alert.reason in REGISTRY else []
    if not has_letters(alert.severity, alert.fingerprint):
        return ["profile-sync status", *known, *([f"{origin.page}/"] if origin.page else [])]
    chosen = letter_filter(alert.fingerprint)
    return [
        "profile-sync dlq stats",
        f"profile-sync dlq list {options_of(chosen)}",
        *(["profile-sync consumer --outcome partial --since 24h"] if _leaves_rows_out(alert) else []),
        *known,
        *([f"{origin.page}/dead-letters?{query_of(chosen)}"] if origin.page else []),
    ]


def _leaves_rows_out(alert: Alert) -> bool:
    """Whether the cause is about one entity, whatever the operation: a missing right. It also makes events partial."""
    return alert.operation in _NOTHING and alert.entity not in (*_NOTHING, EVENT_ENTITY)


def _end(alert: Alert, origin: TicketOrigin) -> str:
    """Who resolves the incident, and when."""
    if alert.severity in (Severity.OUTAGE, Severity.THROTTLING):
        return _RESOLVED_BY_ITSELF
    if not has_letters(alert.severity, alert.fingerprint) or not origin.resolve_minutes:
        return _DONE_BY_HAND
    return (
        "The program resolves this incident when none of its dead letters is open any more and no alert came for "
        f"{origin.resolve_minutes:g} minutes."
    )


def _over(alert: Alert, before: Remembered | None) -> str:
    began = f" It began {moment(before.since_ms)}." if before else ""
    return f"Over since {moment(alert.at_ms)}: {sentence(_message(alert))}{began}"


def _since_last_note(count: int) -> str:
    return f" Alerts since the last note: {count:,}." if count else ""


def _afterwards(severity: Severity) -> str:
    """Incidents about dead letters end when none is open."""
    if severity in (Severity.FAILED, Severity.INVALID):
        return ""
    return "\nEvents that were given up meanwhile, if any: profile-sync dlq stats"


def _bounded(text: str) -> str:
    return text if len(text) <= _SUMMARY_LENGTH else f"{text[: _SUMMARY_LENGTH - 3]}..."


def _place(alert: Alert) -> list[str]:
    """What failed, for a title: ``(UPDATE pet)``; empty if the alert is not about a single kind of event."""
    known = [part for part in (alert.operation, alert.entity) if part not in (*_NOTHING, EVENT_ENTITY)]
    return [f"({' '.join(known)})"] if known else []


def _last_message(alert: Alert) -> str:
    market = "" if alert.market in _NOTHING else f" (market {alert.market[:50]})"
    return f"Last message{market}: {sentence(_message(alert))}"


def _message(alert: Alert) -> str:
    return mask(alert.message[:_MESSAGE_LENGTH], ())


def _waiting(alert: Alert) -> list[str]:
    return [f"Waiting events: {alert.waiting:,}"] if alert.waiting else []


def _events(alerts: Sequence[Alert]) -> list[str]:
    ids = list(dict.fromkeys(alert.event_id[:50] for alert in alerts if alert.event_id not in _NOTHING))
    show = " (profile-sync dlq show ID)" if has_letters(alerts[-1].severity, alerts[-1].fingerprint) else ""
    return [f"Some of the events{show}: {', '.join(ids)}"] if ids else []
