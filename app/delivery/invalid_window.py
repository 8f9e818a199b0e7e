"""Invalid events of the last ten minutes, by reason. A few are the producer's business; many are an incident. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from app.delivery.worker_status import InvalidCount, WorkerStatus

WINDOW_MS = 600_000
# This many invalid events of one reason within the window mean that a producer is broken.
MANY = 20
# The window counts no further than this; the exact number is in the KPI counts.
MOST_COUNTED = 1_000
# An open incident is told of further events at most this often.
AGAIN_MS = 60_000


class InvalidWindow:
    """Counts one worker's invalid events, and says when all workers together have many."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[int]] = {}
        self._reported: dict[str, int] = {}

    def saw(self, reason: str, now_ms: int) -> None:
        """Note an invalid event."""
        self._seen.setdefault(reason, deque(maxlen=MOST_COUNTED)).append(now_ms)

    def counts(self, now_ms: int) -> dict[str, InvalidCount]:
        """The invalid events within the window."""
        for seen in self._seen.values():
            while seen and seen[0] <= now_ms - WINDOW_MS:
                seen.popleft()
        self._seen = {reason: seen for reason, seen in self._seen.items() if seen}
        return {reason: InvalidCount(count=len(seen), since=seen[0]) for reason, seen in self._seen.items()}

    def to_report(self, others: Iterable[WorkerStatus], now_ms: int) -> dict[str, InvalidCount]:
        """Reasons to report now, each with its count and beginning over all workers.

        A worker reports a reason again only if it has itself seen more such events since its last report.
        """
        found = self.counts(now_ms)
        others = list(others)
        report = {}
        for reason, own in found.items():
            reported = self._reported.get(reason)
            if reported is not None and (now_ms - reported < AGAIN_MS or self._seen[reason][-1] <= reported):
                continue
            parts = [own, *(worker.invalid[reason] for worker in others if reason in worker.invalid)]
            total = sum(part.count for part in parts)
            if total >= MANY:
                self._reported[reason] = now_ms
                report[reason] = InvalidCount(count=total, since=min(part.since for part in parts))
        return report
