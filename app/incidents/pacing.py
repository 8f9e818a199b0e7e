"""Limits the number of notes: which alerts are reported now, and which are counted for the next note. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from app.delivery.alert import Alert, AlertKind

# A ticket names at most this many events.
EVENTS_NAMED = 10


@dataclass(frozen=True, slots=True)
class HeldAlerts:
    """The alerts of one fingerprint since its last report.

    ``reported_at``: the time of that report. ``held``: the number of alerts since. ``alerts``: the first few and the
    last.
    """

    reported_at: float
    held: int = 0
    alerts: tuple[Alert, ...] = ()

    def plus(self, alert: Alert) -> HeldAlerts:
        """The same with one more alert."""
        return replace(self, held=self.held + 1, alerts=(*self.alerts[: EVENTS_NAMED - 1], alert))


class AlertAction(StrEnum):
    """What to do with an alert: report it to the ticket system now, or count it for the next note."""

    REPORT = "report"
    HOLD = "hold"


def decide(known: HeldAlerts | None, alert: Alert, now: float, note_every: float) -> AlertAction:
    """What to do with an alert. ``now`` and ``note_every``: seconds of the same clock.

    The first alert, an end, and an alert after a long enough pause are reported. Whether a report opens an incident or
    adds a note depends on what is open in the ticket system.
    """
    if known is None or alert.kind is AlertKind.RESOLVE or is_due(known, now, note_every):
        return AlertAction.REPORT
    return AlertAction.HOLD


def is_due(known: HeldAlerts, now: float, note_every: float) -> bool:
    """Whether the last report was long enough ago for another one."""
    return now - known.reported_at >= note_every
