"""The circuit breaker of one target: an outage is not a flood of failures. Each target has a breaker of its own.

Closed: everything runs. After ``threshold`` transport failures in a row the breaker opens. While it is open, events of
the target do not start, and a failure of the target does not count as an attempt. The main topic is read on only while
another target takes events, or until ``WAITING_TO_PROBE`` events are there. Every ``probe_seconds`` one event is let
through as a probe. If the target answers, the breaker closes. A row error is an answer. A target that has blocked its
caller is probed more and more rarely: the wait doubles, up to ``RARE_PROBE_SECONDS``.

Few events make few failures. Therefore an event that is about to be given up opens the breaker too, unless the target
answered something while that event was being tried.

Failures of one or two consumers' events may be the events' own fault. Before they open the breaker, ``check`` asks
whether something else gets through. A refusal that may be the event's own fault, or may meet every call, always has
that check made (``refused``), however many consumers' events were refused.

The events that are there probe in turns: an event that the target can never answer must not keep the breaker open for
all others.

Throttling does not open the breaker: a throttled call waits where it is (``throttle.py``) and is sent again.

States and what changes them:

    closed --threshold failures in a row, and nothing else gets through--> open
    open   --an event is let through after probe_seconds, and the target answers--> closed

Used from the event loop's thread only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from app.delivery.outcome import NotPermitted
from app.engine.doubts import Doubts
from app.engine.throttle import Throttle

# This many events are taken while the breaker is open; they wait for their turn to probe.
WAITING_TO_PROBE = 16
# The longest wait between two probes of a target that has blocked its caller.
RARE_PROBE_SECONDS = 300.0
# When events of this many consumers fail in a row, it is not the events' fault.
SEVERAL = 3

# Makes a call that has nothing to do with any event; whether it got through.
Check = Callable[[], Awaitable[bool]]


class TargetDown(NotPermitted):
    """The breaker opened: the event's remaining calls are not made, and the event runs again later."""


class Breaker:
    """The breaker of one target.

    Args:
        threshold: transport failures in a row that open it; 0: it never opens.
        probe_seconds: between two probes.
        most_throttled: while this many events wait because the target throttles them, hardly another one begins.
        check: asked before the failures of fewer than ``SEVERAL`` consumers open it; None: they open it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        threshold: int,
        probe_seconds: float,
        *,
        most_throttled: int = 64,
        check: Check | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._check = check
        self._doubts = None if check is None else Doubts(check, clock=clock)
        self._checking: asyncio.Task[bool] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._failures = 0
        self._suspects: set[str] = set()  # consumers whose events failed since the last answer, at most SEVERAL
        self._failing_since: float | None = None
        self._answered_ms = 0
        self._opened_at: float | None = None
        self._turns = 0
        self._next_probe = 0.0
        self._probe_wait = probe_seconds
        self._rarely = False
        self._waiting = 0
        self._changed = asyncio.Event()
        self.throttle = Throttle(most_throttled, probe_seconds, clock=clock)

    @property
    def is_held(self) -> bool:
        """Whether no event may begin: the target is down, or it throttles as many events as may wait."""
        return self.is_open or self.throttle.is_crowded

    @property
    def is_open(self) -> bool:
        """Whether the target counts as down (also while it is being probed)."""
        return self._opened_at is not None

    @property
    def turns(self) -> int:
        """How often it has opened or closed. If the number did not change, it was open, or closed, all the time."""
        return self._turns

    @property
    def never_opens(self) -> bool:
        """Whether there is no breaker: outages use up attempts."""
        return self._threshold == 0

    @property
    def failing_since(self) -> float | None:
        """When the first failure since the last answer happened, by the breaker's clock; None: there was none."""
        return self._failing_since

    def now(self) -> float:
        """The breaker's own clock."""
        return self._clock()

    @property
    def open_seconds(self) -> float:
        """For how long it has been open; 0 when closed."""
        return 0.0 if self._opened_at is None else self._clock() - self._opened_at

    @property
    def has_prober(self) -> bool:
        """Whether an event waits to probe, and so will find out when the target is up again."""
        return self._waiting > 0

    def succeeded(self) -> None:
        """The target answered: with a result, or with an error about the row or the request."""
        self._answered_ms = int(time.time() * 1000)
        if self._failing_since is None:
            return
        self._failures, self._failing_since = 0, None
        self._suspects.clear()
        if self._opened_at is not None:
            self._opened_at = None
            self._turns += 1
            self.probe_rarely(False)
            self._ring()

    def failed(self) -> None:
        """The target did not answer, or answered that it cannot work."""
        self.in_trouble()
        self._failures += 1
        if self._failures >= self._threshold:
            self._open_if_several()

    def event_failed(self, consumer: str) -> None:
        """An event of a consumer failed because of the target."""
        self.in_trouble()
        if len(self._suspects) < SEVERAL:
            self._suspects.add(consumer)
            if self._failures >= self._threshold:
                self._open_if_several()

    def in_trouble(self) -> None:
        """Something failed; it need not count as a failure of the target."""
        if self._failing_since is None:
            self._failing_since = self._clock()

    def _open_if_several(self) -> None:
        if self._check is None or len(self._suspects) >= SEVERAL:
            self.trip()
        elif self._threshold and self._opened_at is None and (self._opening is None or self._opening.done()):
            self._opening = asyncio.get_running_loop().create_task(self.confirm())

    def trip(self) -> None:
        """Open at once."""
        if self._threshold and self._opened_at is None:
            self.in_trouble()
            self._turns += 1
            self._opened_at = self._clock()
            self._next_probe = self._opened_at + self._probe_wait

    async def confirm(self) -> None:
        """Open, unless something else gets through. When events of several consumers fail, nothing else does."""
        if not self._threshold or self._opened_at is not None:
            return
        if self._check is not None and len(self._suspects) < SEVERAL:
            if self._checking is None or self._checking.done():
                self._checking = asyncio.get_running_loop().create_task(_asked(self._check))
            if await asyncio.shield(self._checking):
                return
        self.trip()

    async def refused(self) -> None:
        """An event was refused: open, unless something else gets through.

        This is also checked while the breaker is open. If the only event there is is always refused, nothing but an
        answer to the check can close the breaker.
        """
        if self._threshold and self._doubts is not None and not await self._doubts.something_else_gets_through():
            self.trip()

    def probe_rarely(self, rarely: bool) -> None:
        """Set whether the wait between two probes doubles each time, because the target has blocked its caller."""
        self._rarely = rarely
        if not rarely:
            self._probe_wait = self._probe_seconds

    def unanswered_since(self, first_failed_ms: int) -> bool:
        """Whether nothing was answered since an event's first failure (Unix time).

        Then an event that has used up its attempts is a sign of an outage, however few failures there were.
        """
        return self._answered_ms < first_failed_ms

    def may_probe(self) -> bool:
        """Whether the caller may probe now: while the breaker is open, one caller per wait between probes may."""
        now = self._clock()
        if self._opened_at is None or now < self._next_probe:
            return False
        if self._rarely:
            self._probe_wait = min(2 * self._probe_wait, max(RARE_PROBE_SECONDS, self._probe_seconds))
        self._next_probe = now + self._probe_wait
        return True

    async def pass_or_probe(self) -> bool:
        """Return when the caller may go on: False: the breaker is closed; True: the caller is the probe."""
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


async def _asked(check: Check) -> bool:
    return await check()
