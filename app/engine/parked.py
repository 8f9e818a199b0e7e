"""One parked consumer: which of its events wait, and for what. No I/O."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable

from app.delivery.partition_record import Forwarded


class ParkedConsumer:
    """The main offsets of a consumer's parked events, lowest first, and a bell for its task.

    ``failing``: an attempt failed, or the target cannot be used. False: the consumer is healthy and only has more
    events than its share of the room; such events do not count towards ``SYNC_MAX_PARKED``.
    ``wake``: rings when something may have changed.
    """

    __slots__ = ("_heap", "_turn", "failing", "offsets", "wake")

    def __init__(self, offsets: Iterable[int] = (), *, failing: bool = False) -> None:
        self.offsets = set(offsets)
        self.failing = failing
        self.wake = asyncio.Event()
        self._heap = sorted(self.offsets)
        self._turn: tuple[int, int, float] = (-1, -1, 0.0)  # offset, attempts, when it may run (monotonic)

    def add(self, offset: int) -> None:
        """One more event waits."""
        if offset not in self.offsets:
            self.offsets.add(offset)
            heapq.heappush(self._heap, offset)

    def discard(self, offset: int) -> bool:
        """An event waits no more; whether it did."""
        if offset not in self.offsets:
            return False
        self.offsets.discard(offset)
        while self._heap and self._heap[0] not in self.offsets:
            heapq.heappop(self._heap)
        return True

    def wait_seconds(self, offset: int, entry: Forwarded, now_ms: int, clock: float) -> float:
        """Seconds until an event may run; 0 or less: now.

        Its due time was written by the wall clock of whoever tried it last, which may have been wrong, and this one's
        may be set meanwhile. So nobody waits longer than was meant, counted from when it is first asked about here.

        Args:
            clock: monotonic seconds.
        """
        if self._turn[:2] != (offset, entry.attempts):
            meant = entry.due_ms - entry.last_failed_ms if entry.last_failed_ms else 0
            wait = min(entry.due_ms - now_ms, max(meant, 0)) / 1000
            self._turn = offset, entry.attempts, clock + wait
        return self._turn[2] - clock

    @property
    def lowest(self) -> int:
        """The offset that runs next; there must be one."""
        return self._heap[0]
