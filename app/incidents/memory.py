"""What must survive a restart: which incidents this program opened, and since when their causes last.

The ticket system cannot always be asked: a user without the right role gets an empty answer to every search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from app.delivery.alert import LAST_MOMENT_MS, Alert, Severity
from app.incidents.open_letters import Told
from app.incidents.tickets import Incident

FORMAT = 1


class UnreadableMemory(ValueError):
    """The bytes are not a remembered incident of this program."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """An incident that this program opened and that was not over when last checked.

    ``partition``: of the alerts topic; its owner looks after the incident. ``since_ms``: the first failure of the
    cause. ``seen_ms``: its last alert. ``over_ms``: when the end of the cause was reported, while something else kept
    the incident open. ``waiting``: the number of waiting events. ``told``: None: nothing is known of dead letters.
    """

    incident: Incident
    severity: Severity
    partition: int
    opened_ms: int
    since_ms: int
    seen_ms: int
    waiting: int = 0
    over_ms: int | None = None
    told: Told | None = None

    def to_bytes(self) -> bytes:
        """The value of the incident's record."""
        return orjson.dumps(
            {
                "v": FORMAT,
                "sysId": self.incident.sys_id,
                "number": self.incident.number,
                "severity": self.severity.value,
                "partition": self.partition,
                "opened": self.opened_ms,
                "since": self.since_ms,
                "seen": self.seen_ms,
                "waiting": self.waiting,
                "over": self.over_ms,
                "told": None if self.told is None else [self.told.at_ms, self.told.open, self.told.newest_ms],
            }
        )

    @classmethod
    def from_bytes(cls, value: bytes) -> Remembered:
        """The incident in a record's value.

        Raises:
            UnreadableMemory: the value is not such a record.
        """
        try:
            document: Any = orjson.loads(value)
            if document["v"] != FORMAT:
                raise UnreadableMemory("another format; was it written by a newer program?")
            sys_id, number = document["sysId"], document["number"]
            if not isinstance(sys_id, str) or not isinstance(number, str):
                raise UnreadableMemory("no incident")
            times = [document[name] for name in ("partition", "opened", "since", "seen", "waiting")]
            over = document.get("over")
            if not all(_is_moment(time) for time in times) or not (over is None or _is_moment(over)):
                raise UnreadableMemory("no moments in time")
            partition, opened, since, seen, waiting = times
            severity = Severity(document["severity"])
            told = document.get("told")
            if told is not None and not (isinstance(told, list) and len(told) == 3 and all(map(_is_moment, told))):
                raise UnreadableMemory("no count of dead letters")
        except UnreadableMemory:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableMemory(type(error).__name__) from None
        return cls(
            Incident(sys_id, number),
            severity,
            partition,
            opened,
            since,
            seen,
            waiting,
            over,
            None if told is None else Told(*told),
        )


def _is_moment(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_MOMENT_MS


class IncidentMemory(Protocol):
    """Where incidents are remembered, by fingerprint. No method raises; an incident that cannot be kept is logged."""

    def all(self) -> Mapping[str, Remembered]:
        """The remembered incidents, by fingerprint."""

    async def put(self, fingerprint: str, remembered: Remembered | None) -> None:
        """Remember an incident; None forgets it."""


class ProcessMemory:
    """Remembers for the life of the process."""

    def __init__(self) -> None:
        self._remembered: dict[str, Remembered] = {}

    def all(self) -> Mapping[str, Remembered]:
        """The remembered incidents, by fingerprint."""
        return dict(self._remembered)

    async def put(self, fingerprint: str, remembered: Remembered | None) -> None:
        """Remember an incident; None forgets it."""
        if remembered is None:
            self._remembered.pop(fingerprint, None)
        else:
            self._remembered[fingerprint] = remembered


def remember(incident: Incident, alert: Alert, partition: int, before: Remembered | None, now_ms: int) -> Remembered:
    """What to remember about an incident after an alert. ``before``: what was remembered until now."""
    known = before if before is not None and before.incident == incident else None
    return Remembered(
        incident,
        alert.severity,
        partition,
        opened_ms=known.opened_ms if known else now_ms,
        since_ms=min(known.since_ms, alert.began_ms) if known else alert.began_ms,
        seen_ms=now_ms,
        waiting=alert.waiting,
        told=known.told if known else None,
    )
