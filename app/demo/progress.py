"""The progress of the demo, and whether it is stuck. Pure; all times are seconds of one clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from app.demo.clients import SimulatorStats, Totals

# The rate is averaged over this time: long enough not to jump with every look, short enough to be current.
RATE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """The displayed values. ``sent``: events handed to Kafka so far. ``wanted``: events that the demo publishes in all.

    ``breakers_open``: the number of workers with an open circuit breaker. ``backlog``: whether to show waiting events.
    ``dead_letters``: records in the dead-letter topic. ``open_letters``: those that are open; None: not asked for.
    """

    wanted: int
    sent: int
    totals: Totals
    dead_letters: int
    stats: SimulatorStats
    calls_per_second: float
    breakers_open: int = 0
    backlog: bool = False
    open_letters: int | None = None

    @property
    def waiting(self) -> int:
        """Events that are published and not settled."""
        return max(0, self.sent - self.totals.events)


class Rate:
    """The growth of a counter per second, over the last ``RATE_SECONDS``."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, now: float, count: int) -> float:
        """The rate after one more reading of the counter."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        began, first = self._seen[0]
        return (count - first) / (now - began) if now > began else 0.0


class Patience:
    """Detects that nothing has changed for too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: object = None
        self._since: float | None = None

    def exhausted(self, now: float, state: object) -> bool:
        """Whether ``state`` has been the same for longer than ``seconds``."""
        if self._since is None or state != self._last:
            self._last, self._since = state, now
        return now - self._since > self._seconds


def most_advanced(answers: Sequence[Totals | None]) -> Totals:
    """The worker's answer with the most events: the read models of the workers are not equally fresh."""
    return max((answer for answer in answers if answer is not None), key=lambda totals: totals.events, default=Totals())


def all_settled(published: int, answers: Sequence[Totals | None]) -> bool:
    """Whether every worker gives a complete answer in which all events have an outcome and none is parked.

    More events than were published also count as settled, because waiting would not correct that.
    """
    return bool(answers) and all(
        totals is not None and totals.complete and totals.events >= published and totals.parked == 0
        for totals in answers
    )
