"""Is this worker still the owner? A lease on its partitions, renewed by the group's heartbeats.

A worker that was frozen for longer than the session timeout does not know that its partitions have a new owner.
Therefore a call to the outside may start only while the last *acknowledged* heartbeat of the current generation was
*sent* recently: the call must end before the broker can give the partitions away, even if no later heartbeat is
acknowledged.
Which acknowledgements may be believed is the consumer's knowledge (``heartbeat.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from app.delivery.outcome import NotPermitted


class LeaseLost(NotPermitted):
    """The partition may belong to another worker by now: nothing may be sent for it."""


class Lease:
    """The last acknowledged heartbeat.

    Args:
        valid_seconds: how long after a heartbeat was sent a call may still start: the session timeout, less the
            longest call and a margin.
        clock: monotonic seconds.
    """

    def __init__(self, valid_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._valid = valid_seconds
        self._clock = clock
        # One tuple, replaced as a whole: the heartbeat is acknowledged in the consumer's thread.
        self._last: tuple[int, float] = (-1, float("-inf"))
        self._began = clock()

    def now(self) -> float:
        """The lease's own clock, for ``renewed_since``."""
        return self._clock()

    def renew(self, generation: int, sent: float) -> None:
        """A heartbeat of ``generation`` that was sent at ``sent`` was acknowledged."""
        self._last = (generation, sent)

    def silent_seconds(self) -> float:
        """For how long no heartbeat has been acknowledged."""
        return self._clock() - max(self._last[1], self._began)

    def holds(self, generation: int) -> bool:
        """Whether a call may start now."""
        last, sent = self._last
        return last == generation and self._clock() - sent < self._valid

    def renewed_since(self, generation: int, moment: float) -> bool:
        """Whether a heartbeat sent after ``moment`` was acknowledged in this generation."""
        last, sent = self._last
        return last == generation and sent > moment
