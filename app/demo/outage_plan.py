"""The scenario "outage": what happens when, and the settings that let an audience see it in time. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OUTAGE_SECONDS = 30.0
# Events flow before the outage, and for a while after it: nobody stops publishing because a target is down.
LEAD_SECONDS = 5.0
TAIL_SECONDS = 3.0
# The incident comes in the first part of the outage.
ALERT_SECONDS = 10.0
ALERT_SHARE = 1 / 3
# One event makes three calls of an attempt, and has five attempts. So an event that is alone in the outage opens the
# breaker in its second attempt; with more of them it takes a moment.
BREAKER_FAILURES = 6


@dataclass(frozen=True, slots=True)
class OutagePlan:
    """An outage of so many ``seconds``."""

    seconds: float = OUTAGE_SECONDS

    @property
    def publishing_seconds(self) -> float:
        """So long it takes until the last event is published: some always fall into the outage."""
        return LEAD_SECONDS + self.seconds + TAIL_SECONDS

    def worker_variables(self) -> Mapping[str, str]:
        """For the workers, beside what every demo sets.

        >>> OutagePlan(30.0).worker_variables()["SYNC_BREAKER_ALERT_SECONDS"]
        '10'
        """
        return {
            "SYNC_BREAKER_FAILURES": str(BREAKER_FAILURES),
            "SYNC_BREAKER_ALERT_SECONDS": f"{min(ALERT_SECONDS, self.seconds * ALERT_SHARE):g}",
        }


def outage_rules() -> Sequence[Mapping[str, Any]]:
    """Bodies for ``POST /_sim/faults``: no call and no token request gets through. Every other call ends without an
    answer, as when nobody is there; the rest are told that the service is unavailable."""
    return (
        {"kind": "reset", "probability": 0.5},
        {"kind": "http_503"},
        {"kind": "reset", "operation": "Token"},
    )
