"""The verdict on an event that was given up, as the partition record keeps it. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.counts import Settlement, read_settlement
from app.delivery.parked_events import OFFSET_BYTES


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision to give an event up: what its dead letter and its counts will say. Times in ms."""

    settlement: Settlement
    message: str
    first_failed_ms: int
    last_failed_ms: int
    alert: bool


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
    )
    return fields.number(offset), verdict
