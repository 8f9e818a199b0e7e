"""An outage is not a flood: the circuit breaker of one target. With several targets each has its own.

Closed: everything runs. After ``threshold`` transport failures in a row it opens: no event of the target starts, the
main topic is not fetched (unless another target takes events), and what failed because of the target does not count as
an attempt. Every ``probe_seconds`` one event is
let through; if the target answers it the breaker closes. Row errors say that the target lives. A target that has
blocked its caller is asked more and more rarely: the wait doubles up to ``RARE_PROBE_SECONDS``.

Few events make few failures: an event that is about to be given up opens the breaker too, unless something succeeded
while it was tried. While open, a few events are still taken so that several take turns to probe: an event that the
target can never answer must not keep the breaker open for all others.

States and what changes them:

    closed --threshold failures in a row--> open --probe_seconds--> probing --success--> closed
                                              ^-------------failure----------'

Used from the event loop's thread only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from app.domain.outcome import NotPermitted

# Events that are taken while the breaker is open; they wait for their turn to probe.
WAITING_TO_PROBE = 16
# The longest wait between two probes of a target that does not want to be asked.
RARE_PROBE_SECONDS = 300.0


class TargetDown(NotPermitted):
    """The breaker opened: the event's remaining calls are not made, it runs again later."""


class Breaker:
    """One target's breaker; ``threshold`` 0 = never opens.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, threshold: int, probe_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = threshold
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._failures = 0
        self._answered_ms = 0
        self._opened_at: float | None = None
        self._next_probe = 0.0
        self._probe_wait = probe_seconds
        self._rarely = False
        self._waiting = 0
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the target is held to be down (also while it is being probed)."""
        return self._opened_at is not None

    @property
    def open_seconds(self) -> float:
        """For how long it has been open; 0 when closed."""
        return 0.0 if self._opened_at is None else self._clock() - self._opened_at

    @property
    def has_prober(self) -> bool:
        """Whether somebody waits who will find out when the target is up again."""
        return self._waiting > 0

    def succeeded(self) -> None:
        """The target answered: with a result, or with an error about the row or the request."""
        self._failures = 0
        self._answered_ms = int(time.time() * 1000)
        if self._opened_at is not None:
            self._opened_at = None
            self.probe_rarely(False)
            self._ring()

    def failed(self) -> None:
        """The target did not answer, or answered that it cannot work."""
        self._failures += 1
        if self._failures >= self._threshold:
            self.trip()

    def trip(self) -> None:
        """Open at once: what happened meets every call alike."""
        if self._threshold and self._opened_at is None:
            self._opened_at = self._clock()
            self._next_probe = self._opened_at + self._probe_wait

    def probe_rarely(self, rarely: bool) -> None:
        """Whether the wait between two probes doubles each time: the target has blocked its caller."""
        self._rarely = rarely
        if not rarely:
            self._probe_wait = self._probe_seconds

    def last_attempt_failed(self, first_failed_ms: int) -> None:
        """An event failed for want of the target as often as it may.

        With nothing answered since its first failure (Unix time) that is an outage, however few failures it made.
        """
        if self._answered_ms < first_failed_ms:
            self.trip()

    def may_probe(self) -> bool:
        """True for one caller per wait between probes while open: that one may try."""
        now = self._clock()
        if self._opened_at is None or now < self._next_probe:
            return False
        if self._rarely:
            self._probe_wait = min(2 * self._probe_wait, max(RARE_PROBE_SECONDS, self._probe_seconds))
        self._next_probe = now + self._probe_wait
        return True

    async def pass_or_probe(self) -> bool:
        """Return when the caller may go on: False = closed, True = it is the probe."""
        self._waiting += 1
        try:
            while self._opened_at is not None:
                if self.may_probe():
                    return True
                try:
                    await asyncio.wait_for(self._changed.wait(), max(0.0, self._next_probe - self._clock()))
                except TimeoutError:
                    continue
            return False
        finally:
            self._waiting -= 1

    def _ring(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
