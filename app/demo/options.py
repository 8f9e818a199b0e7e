"""The options of a demo."""

from __future__ import annotations

from dataclasses import dataclass

from app.demo.outage_plan import OUTAGE_SECONDS

SAMPLE_EVENTS = 2000
SCENARIOS = ("outage", "repair")
# A retry waits for a few seconds, so if no event is settled for this long, something is stuck.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``web_port``: of the first worker; 0 chooses a free one. ``fault_rate``: share of SOAP calls that fail, 0 to 1.
    ``scenario``: one of ``SCENARIOS``, or None."""

    events: int = SAMPLE_EVENTS
    exit_when_settled: bool = False
    fault_rate: float = 0.0
    workers: int = 1
    web_port: int = 0
    seed: int = 0
    scenario: str | None = None
    outage_seconds: float = OUTAGE_SECONDS
    patience_seconds: float = PATIENCE_SECONDS
