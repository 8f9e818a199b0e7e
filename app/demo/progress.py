"""How far the demo is, and whether anything moves. Pure; times in seconds of any one clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from app.demo.clients import SimulatorStats, Totals

# Long enough not to jump with every look, short enough to show what happens now.
RATE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """Everything that is shown. ``sent``: events handed to Kafka; ``wanted``: events that the demo publishes.

    ``breakers_open``: of how many workers the circuit breaker is open. ``backlog``: whether what waits is of interest.
    """

    wanted: int
    sent: int
    totals: Totals
    dead_letters: int
    stats: SimulatorStats
    calls_per_second: float
    breakers_open: int = 0
    backlog: bool = False

    @property
    def waiting(self) -> int:
        """Events published and not settled."""
        return max(0, self.sent - self.totals.events)


class Rate:
    """Growth of a counter per second over the last ``RATE_SECONDS``."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, now: float, count: int) -> float:
        """One more look at the counter; the rate until now."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        began, first = self._seen[0]
        return (count - first) / (now - began) if now > began else 0.0


class Patience:
    """Notices that nothing has changed for too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: object = None
        self._since: float | None = None

    def exhausted(self, now: float, state: object) -> bool:
        """Whether ``state`` has been the same for longer than the patience lasts."""
        if self._since is None or state != self._last:
            self._last, self._since = state, now
        return now - self._since > self._seconds


def most_advanced(answers: Sequence[Totals | None]) -> Totals:
    """Of what the workers say, the answer with most events; read models follow at their own pace."""
    return max((answer for answer in answers if answer is not None), key=lambda totals: totals.events, default=Totals())


def all_settled(published: int, answers: Sequence[Totals | None]) -> bool:
    """Whether every worker says, with nothing missing, that all events have their outcome and none is parked.

    More events than were published also count as settled: waiting would not make it right.
    """
    return bool(answers) and all(
        totals is not None and totals.complete and totals.events >= published and totals.parked == 0
        for totals in answers
    )
