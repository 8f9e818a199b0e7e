"""Invalid events of the last minutes, by reason: a few are the producer's business, many are an incident. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from app.delivery.worker_status import InvalidCount, WorkerStatus

WINDOW_MS = 600_000
# From so many of one reason within the window on, a producer is broken.
MANY = 20
# More are not counted: the number is in the counts.
MOST_COUNTED = 1_000
# An incident that is open hears of more at most this often.
AGAIN_MS = 60_000


class InvalidWindow:
    """Counts one worker's invalid events, and says when those of all workers are many."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[int]] = {}
        self._told: dict[str, int] = {}

    def saw(self, reason: str, now_ms: int) -> None:
        """An event was invalid."""
        self._seen.setdefault(reason, deque(maxlen=MOST_COUNTED)).append(now_ms)

    def counts(self, now_ms: int) -> dict[str, InvalidCount]:
        """Those within the window."""
        for seen in self._seen.values():
            while seen and seen[0] <= now_ms - WINDOW_MS:
                seen.popleft()
        self._seen = {reason: seen for reason, seen in self._seen.items() if seen}
        return {reason: InvalidCount(count=len(seen), since=seen[0]) for reason, seen in self._seen.items()}

    def to_report(self, others: Iterable[WorkerStatus], now_ms: int) -> dict[str, InvalidCount]:
        """Reasons that are to be reported now, with the count and the beginning over all workers. A worker reports what
        it has seen something of itself since it last did."""
        found = self.counts(now_ms)
        everybody = list(others)
        report = {}
        for reason, own in found.items():
            told = self._told.get(reason)
            if told is not None and (now_ms - told < AGAIN_MS or self._seen[reason][-1] <= told):
                continue
            parts = [own, *(worker.invalid[reason] for worker in everybody if reason in worker.invalid)]
            total = sum(part.count for part in parts)
            if total >= MANY:
                self._told[reason] = now_ms
                report[reason] = InvalidCount(count=total, since=min(part.since for part in parts))
        return report
