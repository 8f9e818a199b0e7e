"""The verdict on an event that was given up, as the partition record keeps it. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.counts import EVENT_ENTITY, Settlement, read_settlement
from app.delivery.failed_attempt import FailedAttempt
from app.delivery.fingerprint import Fingerprint
from app.delivery.outcome import Outcome
from app.delivery.parked_events import OFFSET_BYTES


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision to give an event up: what its dead letter and its counts will say. Times in ms.

    ``request_id``: of the target's answer to the last attempt. ``attempts``: the newest failed attempts.
    ``fingerprint``: what failed; None: an older program wrote the verdict.
    """

    settlement: Settlement
    message: str
    first_failed_ms: int
    last_failed_ms: int
    alert: bool
    request_id: str = ""
    attempts: tuple[FailedAttempt, ...] = ()
    fingerprint: Fingerprint | None = None

    @property
    def kind(self) -> Fingerprint:
        """What failed."""
        return self.fingerprint or fingerprint_of(self.settlement)


def verdict_bytes(verdict: Verdict) -> int:
    """Bytes of the partition record that a verdict takes, with its offset."""
    return len(orjson.dumps(asdict(verdict))) + OFFSET_BYTES + 3


def read_verdict(entry: Any) -> tuple[int, Verdict]:
    """Offset and verdict, from an entry of the record's field ``verdicts``."""
    offset, document = entry
    given = fields.members(document)
    verdict = Verdict(
        read_settlement(given["settlement"]),
        fields.text(given["message"]),
        fields.moment(given["first_failed_ms"]),
        fields.moment(given["last_failed_ms"]),
        fields.flag(given["alert"]),
        fields.text(given.get("request_id", "")),
        tuple(_attempt(one) for one in fields.entries(given.get("attempts", []), fields.members)),
        fields.optional(given.get("fingerprint"), _fingerprint),
    )
    return fields.number(offset), verdict


def _attempt(given: dict[str, Any]) -> FailedAttempt:
    return FailedAttempt(fields.moment(given["at_ms"]), fields.text(given["code"]))


def _fingerprint(given: Any) -> Fingerprint:
    parts = fields.members(given)
    return Fingerprint(*(fields.text(parts[name]) for name in ("reason", "entity", "operation")))


def fingerprint_of(settlement: Settlement) -> Fingerprint:
    """What failed, as the settlement of an event says: its first failure is the one that decided.

    Invalid events of one reason are one kind, whatever they were meant to do.
    """
    entity = settlement.failures[0].entity if settlement.failures else EVENT_ENTITY
    operation = "-" if settlement.outcome is Outcome.INVALID else settlement.operation
    return Fingerprint(settlement.reason or "", entity, operation)
