"""Runs the whole system on one machine: broker, simulator, workers and sample events, and checks the result."""

from app.demo.failed import DemoFailed
from app.demo.options import SAMPLE_EVENTS, SCENARIOS, DemoOptions
from app.demo.outage_plan import OUTAGE_SECONDS
from app.demo.repair_plan import EVENTS as REPAIR_EVENTS
from app.demo.run import DemoResult, run_demo

__all__ = [
    "OUTAGE_SECONDS",
    "REPAIR_EVENTS",
    "SAMPLE_EVENTS",
    "SCENARIOS",
    "DemoFailed",
    "DemoOptions",
    "DemoResult",
    "run_demo",
]
