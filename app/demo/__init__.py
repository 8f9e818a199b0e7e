"""The whole system on one machine: broker, simulator, workers, sample events, and what became of them."""

from app.demo.installation import DemoFailed
from app.demo.run import DemoResult, run_demo
from app.demo.session import DemoOptions

__all__ = ["DemoFailed", "DemoOptions", "DemoResult", "run_demo"]
