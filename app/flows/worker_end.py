"""How a worker ends: the exception that says why, and the last lines of its log."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)


class WorkerFailed(Exception):
    """The worker cannot go on; the text says why and what to do.

    Args:
        configuration: its settings do not fit the group.
        told: the log has the reason already.
    """

    def __init__(self, text: str, *, configuration: bool = False, told: bool = False) -> None:
        super().__init__(text)
        self.configuration = configuration
        self.told = told


def say_cannot_go_on(reason: str) -> None:
    """Log why the worker ends; once."""
    log.error("cannot go on", reason=reason)


def say_stopped() -> None:
    """The last line of the log: it shows that nothing was cut off."""
    log.info("stopped")
