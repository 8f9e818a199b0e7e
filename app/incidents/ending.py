"""When an incident is over although no message said so. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from app.delivery.alert import Severity
from app.incidents.memory import Remembered
from app.incidents.open_letters import OpenCount

# An incident that the user may not read counts as open for at most one day.
UNREADABLE_MS = 24 * 3600 * 1000


def end_reason(
    remembered: Remembered, still_on: bool | None, letters: OpenCount | None, now_ms: int, resolve_ms: float
) -> str | None:
    """Why an incident is over now; None if it is not, as far as is known.

    Args:
        still_on: whether a worker reports that the cause still lasts; None: workers do not report such a cause.
        letters: its open dead letters; None: not known, or it is not about dead letters.
        resolve_ms: a cause without an alert for this time is gone; 0: never.
    """
    if still_on or (letters is not None and letters.open):
        return None
    if remembered.over_ms is not None:
        return f"Over since {moment(remembered.over_ms)}."
    if not resolve_ms or now_ms - remembered.seen_ms < resolve_ms:
        return None
    seen = moment(remembered.seen_ms)
    if remembered.severity in (Severity.OUTAGE, Severity.THROTTLING):
        return f"Over: no worker has reported it since {seen}." if still_on is False else None
    return None if letters is None else f"Over: the last alert came at {seen}, and no dead letter of this kind is open."


def moment(ms: int) -> str:
    """A point in time, as text.

    >>> moment(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
