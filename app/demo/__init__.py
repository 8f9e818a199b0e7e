"""Runs the whole system on one machine: broker, simulator, workers and sample events, and checks the result."""

from app.demo.failed import DemoFailed
from app.demo.options import SCENARIOS, DemoOptions
from app.demo.outage_plan import OUTAGE_SECONDS
from app.demo.run import DemoResult, run_demo

__all__ = ["OUTAGE_SECONDS", "SCENARIOS", "DemoFailed", "DemoOptions", "DemoResult", "run_demo"]
