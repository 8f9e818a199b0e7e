"""One parked consumer: which of its events wait, and for what. No I/O."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable


class ParkedConsumer:
    """The main offsets of a consumer's parked events, lowest first, and a bell for its task.

    ``failing``: an attempt failed, or the target cannot be used. False: the consumer is healthy and only has more
    events than its share of the room; such events do not count towards ``SYNC_MAX_PARKED``.
    ``wake``: rings when something may have changed.
    """

    __slots__ = ("_heap", "failing", "offsets", "wake")

    def __init__(self, offsets: Iterable[int] = (), *, failing: bool = False) -> None:
        self.offsets = set(offsets)
        self.failing = failing
        self.wake = asyncio.Event()
        self._heap = sorted(self.offsets)

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

    @property
    def lowest(self) -> int:
        """The offset that runs next; there must be one."""
        return self._heap[0]
