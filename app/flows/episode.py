"""When trouble becomes an incident, and when it is over. Pure."""

from __future__ import annotations

import math

from app.delivery.alert import AlertKind

# Trouble is over when it has been away for this share of the time that makes an incident of it.
QUIET_SHARE = 0.5


class Episode:
    """Trouble of one kind, from its first failure until it has been away for a while.

    Args:
        alert_seconds: it becomes an incident when it has lasted so long.
        most_quiet_seconds: it is over when it has been away for so long, however long it takes to become an incident.
    """

    def __init__(self, alert_seconds: float, most_quiet_seconds: float = math.inf) -> None:
        self._alert_seconds = alert_seconds
        self._quiet_seconds = min(alert_seconds * QUIET_SHARE, most_quiet_seconds)
        self._last = 0.0
        self.since: float | None = None
        self.alerted = False

    def look(self, now: float, failing_since: float | None) -> AlertKind | None:
        """What is to be said now; ``failing_since``: since when there is trouble, None: there is none at the moment."""
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
