"""Limits log lines about a lasting condition: one when it begins, then one at intervals."""

from __future__ import annotations

import time
from collections.abc import Callable

AGAIN_SECONDS = 60.0


class Reminder:
    """Says whether a line is due that would otherwise be written at every try.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, again_seconds: float = AGAIN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._again_seconds = again_seconds
        self._clock = clock
        self._said: float | None = None

    def due(self) -> bool:
        """True the first time, then once every ``again_seconds``."""
        now = self._clock()
        if self._said is not None and now - self._said < self._again_seconds:
            return False
        self._said = now
        return True

    def over(self) -> None:
        """Note that the condition is over, so that the next line is due at once."""
        self._said = None
