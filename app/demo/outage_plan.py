"""The schedule of the scenario "outage", and settings that make its effects visible in time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OUTAGE_SECONDS = 30.0
# Events flow before the outage, during it, and for a while after it, as they would in production.
LEAD_SECONDS = 5.0
TAIL_SECONDS = 3.0
# The incident is opened after this time, or after this share of a short outage.
ALERT_SECONDS = 10.0
ALERT_SHARE = 1 / 3
# An event makes up to three calls per attempt and has five attempts. So even a single event opens the breaker, in its
# second attempt; with several events it opens sooner.
BREAKER_FAILURES = 6


@dataclass(frozen=True, slots=True)
class OutagePlan:
    """An outage that lasts ``seconds``."""

    seconds: float = OUTAGE_SECONDS

    @property
    def publishing_seconds(self) -> float:
        """How long publishing takes. It is spread over this time so that some events fall into the outage."""
        return LEAD_SECONDS + self.seconds + TAIL_SECONDS

    def worker_variables(self) -> Mapping[str, str]:
        """Settings of the workers, in addition to those of every demo.

        >>> OutagePlan(30.0).worker_variables()["SYNC_BREAKER_ALERT_SECONDS"]
        '10'
        """
        return {
            "SYNC_BREAKER_FAILURES": str(BREAKER_FAILURES),
            "SYNC_BREAKER_ALERT_SECONDS": f"{min(ALERT_SECONDS, self.seconds * ALERT_SHARE):g}",
        }


def outage_rules() -> Sequence[Mapping[str, Any]]:
    """Bodies for ``POST /_sim/faults``: no call and no token request gets through. Half of the calls get no answer, and
    the rest get HTTP 503."""
    return (
        {"kind": "reset", "probability": 0.5},
        {"kind": "http_503"},
        {"kind": "reset", "operation": "Token"},
    )
