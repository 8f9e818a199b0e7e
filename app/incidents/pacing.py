"""Not a flood of notes: what is reported now, and what is counted for the next note. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from app.delivery.alert import Alert, AlertKind

# Events named in a ticket.
EVENTS_NAMED = 10


@dataclass(frozen=True, slots=True)
class HeldAlerts:
    """What is known of one fingerprint: when something was last reported, and what came since.

    ``held``: alerts counted since; ``alerts``: the first few of them and the last.
    """

    reported_at: float
    held: int = 0
    alerts: tuple[Alert, ...] = ()

    def plus(self, alert: Alert) -> HeldAlerts:
        """With one more alert counted."""
        return replace(self, held=self.held + 1, alerts=(*self.alerts[: EVENTS_NAMED - 1], alert))


class AlertAction(StrEnum):
    """What an alert leads to: tell the ticket system now, or count it for a later note."""

    REPORT = "report"
    HOLD = "hold"


def decide(known: HeldAlerts | None, alert: Alert, now: float, note_every: float) -> AlertAction:
    """What an alert leads to. ``now`` and ``note_every`` in seconds of the same clock.

    Nothing known, good news, or the last report long enough ago: report. Whether that opens an incident or adds a note
    depends on what is open in the ticket system then.
    """
    if known is None or alert.kind is AlertKind.RESOLVE or is_due(known, now, note_every):
        return AlertAction.REPORT
    return AlertAction.HOLD


def is_due(known: HeldAlerts, now: float, note_every: float) -> bool:
    """Whether the last report is long enough ago for another one."""
    return now - known.reported_at >= note_every
