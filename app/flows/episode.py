"""When trouble becomes an incident, and when it ends. Pure."""

from __future__ import annotations

import math

from app.delivery.alert import AlertKind

# Trouble is over after a quiet time: this share of the time after which it becomes an incident.
QUIET_SHARE = 0.5


class Episode:
    """Trouble of one kind, from the first failure until there was none for a while.

    Args:
        alert_seconds: trouble that lasts this long becomes an incident.
        most_quiet_seconds: the longest quiet time that is waited for.
    """

    def __init__(self, alert_seconds: float, most_quiet_seconds: float = math.inf) -> None:
        self._alert_seconds = alert_seconds
        self._quiet_seconds = min(alert_seconds * QUIET_SHARE, most_quiet_seconds)
        self._last = 0.0
        self.since: float | None = None
        self.alerted = False

    def look(self, now: float, failing_since: float | None) -> AlertKind | None:
        """What to report now. ``failing_since``: since when there is trouble; None: there is none at present."""
        if failing_since is not None:
            self.since = failing_since if self.since is None else min(self.since, failing_since)
            self._last = now
            if not self.alerted and now - self.since >= self._alert_seconds:
                self.alerted = True
                return AlertKind.OPEN
        elif self.since is not None and now - self._last >= self._quiet_seconds:
            alerted, self.since, self.alerted = self.alerted, None, False
            return AlertKind.RESOLVE if alerted else None
        return None
