"""Which fingerprints of a partition are compared with the main topic while the work goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from app.delivery.settled_digest import Fingerprint


class Fingerprints:
    """The newest fingerprint, and the one before the longest pause since the last comparison.

    Records that a broker loses are the last ones before it was away. What is settled after that stands in the new log,
    so the newest fingerprint alone would fit again.
    """

    def __init__(self, newest: Fingerprint | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._newest = newest
        self._clock = clock
        self._since = clock()
        self._before_pause: Fingerprint | None = None
        self._pause = 0.0

    def note(self, newest: Fingerprint) -> None:
        """A record was settled."""
        now = self._clock()
        if self._newest is not None and now - self._since >= self._pause:
            self._pause, self._before_pause = now - self._since, self._newest
        self._newest, self._since = newest, now

    def to_compare(self) -> Sequence[Fingerprint]:
        """At most two."""
        return [one for one in dict.fromkeys((self._before_pause, self._newest)) if one is not None]

    def compared(self, those: Sequence[Fingerprint]) -> None:
        """The topic holds these records."""
        if self._before_pause in those:
            self._before_pause, self._pause = None, 0.0
