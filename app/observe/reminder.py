"""Lines about something that lasts: once when it begins, then rarely."""

from __future__ import annotations

import time
from collections.abc import Callable

AGAIN_SECONDS = 60.0


class Reminder:
    """Whether a line that would be written at every try is due.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, again_seconds: float = AGAIN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._again_seconds = again_seconds
        self._clock = clock
        self._said: float | None = None

    def due(self) -> bool:
        """True at first, and then once every ``again_seconds``."""
        now = self._clock()
        if self._said is not None and now - self._said < self._again_seconds:
            return False
        self._said = now
        return True

    def over(self) -> None:
        """It is no longer so: the next time is a first one."""
        self._said = None
