"""The whole system on one machine: broker, simulator, workers, sample events, and what became of them."""

from app.demo.failed import DemoFailed
from app.demo.options import DemoOptions
from app.demo.run import DemoResult, run_demo

__all__ = ["DemoFailed", "DemoOptions", "DemoResult", "run_demo"]
