"""An alert: something that a person should know, sent through the alerts topic. It holds no personal data.

The fingerprint is the Kafka key, so alerts of one fingerprint share a partition and have one reader. Therefore two
workers never open two incidents for the same thing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from app.delivery.errors import CMT_OUTAGE
from app.delivery.fingerprint import SEPARATOR, Fingerprint

# Begins the entity of an alert about an account that is not the only one.
ACCOUNT_ENTITY = "account-"
# The length limit of ServiceNow's correlation_id.
CORRELATION_LENGTH = 100
_DIGEST_LENGTH = 8
_FINGERPRINT_PARTS = 3

# Other programs may write into the topic. Longer texts and impossible times are not from this program.
LONGEST_TEXT = 20_000
LAST_MOMENT_MS = 32_503_680_000_000  # the year 3000
MOST_WAITING = 2**53


class AlertKind(StrEnum):
    """Whether a cause began or ended."""

    OPEN = "open"
    RESOLVE = "resolve"


class Severity(StrEnum):
    """How bad it is. ServiceNow derives the priority from ``impact`` and ``urgency`` (1 high, 2 medium, 3 low)."""

    OUTAGE = "outage"  # nothing gets through
    THROTTLING = "throttling"  # less gets through than comes in
    FAILED = "failed"  # events were given up
    INVALID = "invalid"  # a producer sends events that cannot be processed

    @property
    def impact(self) -> str:
        """ServiceNow's value."""
        return _IMPACT_AND_URGENCY[self][0]

    @property
    def urgency(self) -> str:
        """ServiceNow's value."""
        return _IMPACT_AND_URGENCY[self][1]


_IMPACT_AND_URGENCY = {
    Severity.OUTAGE: ("1", "1"),
    Severity.THROTTLING: ("2", "1"),
    Severity.FAILED: ("2", "2"),
    Severity.INVALID: ("3", "2"),
}


class UnreadableAlert(ValueError):
    """The bytes are not an alert; the text says why without quoting them."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    ``reason``: a registry code. ``entity`` and ``operation``: what failed; "-" if the alert is not about a single one.
    ``event_id``: the event's ``<partition>-<offset>``; "" if the alert is not about a single event. ``consumer``: a
    hash. ``message``: masked. ``at_ms``: milliseconds since 1970 (UTC).

    ``since_ms``: when the cause first failed an event; None: not known, see ``began_ms``. ``waiting``: how many events
    wait because of the cause.
    """

    reason: str
    entity: str
    operation: str
    market: str
    event_id: str
    consumer: str
    message: str
    at_ms: int
    kind: AlertKind = AlertKind.OPEN
    severity: Severity = Severity.FAILED
    since_ms: int | None = None
    waiting: int = 0

    @property
    def began_ms(self) -> int:
        """When the cause first showed, as far as known."""
        return self.at_ms if self.since_ms is None else min(self.since_ms, self.at_ms)

    @property
    def fingerprint(self) -> str:
        """Names the incident that the alert belongs to.

        >>> Alert("CMT-TIMEOUT", "pet", "UPDATE", "DE", "3-17", "1f0a", "late", 0).fingerprint
        'CMT-TIMEOUT:pet:UPDATE'
        """
        return str(Fingerprint(self.reason, self.entity, self.operation))

    def to_bytes(self) -> bytes:
        """The value of the record in the alerts topic."""
        texts = {
            "kind": self.kind.value,
            "severity": self.severity.value,
            "reason": self.reason,
            "entity": self.entity,
            "operation": self.operation,
            "market": self.market,
            "eventId": self.event_id,
            "consumer": self.consumer,
            "message": self.message,
        }
        numbers = {"at": self.at_ms, "since": self.since_ms, "waiting": self.waiting}
        # "replace", because UTF-8 cannot hold a lone surrogate.
        carried = {name: text[:LONGEST_TEXT].encode("utf-8", "replace").decode() for name, text in texts.items()}
        return orjson.dumps(carried | numbers)

    @classmethod
    def from_bytes(cls, value: bytes | None) -> Alert:
        """Read the value of a record, also one of an older program that wrote no severity.

        Raises:
            UnreadableAlert: not an alert.
        """
        try:
            document: Any = orjson.loads(value or b"")
        except orjson.JSONDecodeError:
            raise UnreadableAlert("not JSON") from None
        if not isinstance(document, dict):
            raise UnreadableAlert("not a JSON object")
        names = ("reason", "entity", "operation", "market", "eventId", "consumer", "message")
        if wrong := [name for name in names if not _is_text(document.get(name))]:
            raise UnreadableAlert(f"no text in {', '.join(wrong)}")
        texts: list[str] = [document[name] for name in names]
        if document.get("kind") not in list(AlertKind):
            raise UnreadableAlert(f"kind is neither {' nor '.join(AlertKind)}")
        reason, entity, operation, market, event_id, consumer, message = texts
        severity = document.get("severity", Severity.OUTAGE if reason == CMT_OUTAGE.code else Severity.FAILED)
        if severity not in list(Severity):
            raise UnreadableAlert(f"severity is none of {', '.join(Severity)}")
        since = document.get("since")
        return cls(
            reason=reason,
            entity=entity,
            operation=operation,
            market=market,
            event_id=event_id,
            consumer=consumer,
            message=message,
            at_ms=_number(document, "at", LAST_MOMENT_MS),
            kind=AlertKind(document["kind"]),
            severity=Severity(severity),
            since_ms=None if since is None else _number(document, "since", LAST_MOMENT_MS),
            waiting=_number({"waiting": 0} | document, "waiting", MOST_WAITING),
        )


def correlation_id(group: str, fingerprint: str) -> str:
    """ServiceNow's ``correlation_id``. It begins with the group, so groups never touch each other's incidents; a long
    group name is cut.

    >>> correlation_id("profile-sync", "CMT-OUTAGE:event:-")
    'profile-sync:CMT-OUTAGE:event:-'
    """
    room = CORRELATION_LENGTH - len(fingerprint) - 1
    if len(group) > room:
        digest = hashlib.sha256(group.encode()).hexdigest()[:_DIGEST_LENGTH]
        group = f"{group[: room - _DIGEST_LENGTH - 1]}~{digest}"
    return f"{group}{SEPARATOR}{fingerprint}"


def without_group(text: str) -> str:
    """The fingerprint in a ``correlation_id``. A fingerprint stays as it is.

    >>> without_group("profile-sync:CMT-OUTAGE:event:-"), without_group("CMT-OUTAGE:event:-")
    ('CMT-OUTAGE:event:-', 'CMT-OUTAGE:event:-')
    """
    return SEPARATOR.join(text.split(SEPARATOR)[-_FINGERPRINT_PARTS:])


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _number(document: dict[str, Any], name: str, most: int) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise UnreadableAlert(f"no number from 0 to {most} in {name}")
    return value
