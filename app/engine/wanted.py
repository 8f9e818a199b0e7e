"""Parked events that must be read again from the main topic, because their copies are gone. No I/O."""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Wanted:
    """The offsets of these events, and whether the main topic was read again beyond them without finding them."""

    def __init__(self) -> None:
        self._passed: dict[int, bool] = {}
        self._ahead: list[int] = []  # a heap: those that reading has not passed yet

    def __iter__(self) -> Iterator[int]:
        return iter(self._passed)

    def __contains__(self, offset: int) -> bool:
        return offset in self._passed

    def add(self, offset: int) -> None:
        """Look for an offset, from now on."""
        self._passed[offset] = False
        heapq.heappush(self._ahead, offset)

    def discard(self, offset: int) -> None:
        """The offset was found, or is given up."""
        self._passed.pop(offset, None)

    def read_again(self, offset: int) -> None:
        """A record of the main topic came again. A wanted record with a lower offset would have come before it."""
        while self._ahead and self._ahead[0] < offset:
            wanted = heapq.heappop(self._ahead)
            if wanted in self._passed:
                self._passed[wanted] = True

    def passed(self, offset: int) -> bool:
        """Whether reading has passed a wanted offset."""
        return self._passed.get(offset, False)
