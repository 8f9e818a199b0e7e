"""What travels through the alerts topic: something that a person should know, without personal data.

Alerts of one fingerprint share a partition (the fingerprint is their Kafka key) and so have one writer, which is what
keeps two workers from opening two incidents for the same thing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# The fingerprint becomes part of a ServiceNow query, in which "^" and "," mean something.
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")
# A correlation_id of ServiceNow holds 100 characters.
_NAME_LENGTH = 28


class AlertKind(StrEnum):
    """Whether something is wrong, or right again."""

    OPEN = "open"
    RESOLVE = "resolve"


class UnreadableAlert(ValueError):
    """The bytes are not an alert; the text says why without quoting them."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    ``reason`` is a registry code, ``entity`` and ``operation`` what failed ("-" when it concerns no single one),
    ``event_id`` the event's ``<partition>-<offset>`` ("" when it concerns no single event), ``consumer`` a hash,
    ``message`` masked, ``at_ms`` milliseconds since 1970 (UTC).
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

    @property
    def fingerprint(self) -> str:
        """What one incident is about; ServiceNow's correlation_id.

        >>> Alert("CMT-TIMEOUT", "pet", "UPDATE", "DE", "3-17", "1f0a", "late", 0).fingerprint
        'profile-sync:CMT-TIMEOUT:pet:UPDATE'
        """
        return ":".join(("profile-sync", *map(_plain, (self.reason, self.entity, self.operation))))

    def to_bytes(self) -> bytes:
        """The value of the record in the alerts topic."""
        return json.dumps(
            {
                "kind": self.kind.value,
                "reason": self.reason,
                "entity": self.entity,
                "operation": self.operation,
                "market": self.market,
                "eventId": self.event_id,
                "consumer": self.consumer,
                "message": self.message,
                "at": self.at_ms,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, value: bytes | None) -> Alert:
        """Read the value of a record.

        Raises:
            UnreadableAlert: it is not an alert.
        """
        try:
            document: Any = json.loads(value or b"")
        except ValueError:
            raise UnreadableAlert("not JSON") from None
        if not isinstance(document, dict):
            raise UnreadableAlert("not a JSON object")
        names = ("reason", "entity", "operation", "market", "eventId", "consumer", "message")
        if missing := [name for name in names if not isinstance(document.get(name), str)]:
            raise UnreadableAlert(f"no text in {', '.join(missing)}")
        texts: list[str] = [document[name] for name in names]
        at = document.get("at")
        if not isinstance(at, int) or isinstance(at, bool):
            raise UnreadableAlert("no number in at")
        if document.get("kind") not in list(AlertKind):
            raise UnreadableAlert(f"kind is neither {' nor '.join(AlertKind)}")
        reason, entity, operation, market, event_id, consumer, message = texts
        kind = AlertKind(document["kind"])
        return cls(reason, entity, operation, market, event_id, consumer, message, at, kind)


def _plain(name: str) -> str:
    return _NOT_PLAIN.sub("_", name[:_NAME_LENGTH]) or "-"
