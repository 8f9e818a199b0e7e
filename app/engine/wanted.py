"""Parked events that are to be read once more from the main topic, because their copies are gone. No I/O."""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Wanted:
    """Offsets that are wanted, and whether the main topic was read again beyond them without finding them."""

    def __init__(self) -> None:
        self._passed: dict[int, bool] = {}
        self._ahead: list[int] = []  # a heap: those that nothing has passed yet

    def __iter__(self) -> Iterator[int]:
        return iter(self._passed)

    def __contains__(self, offset: int) -> bool:
        return offset in self._passed

    def add(self, offset: int) -> None:
        """Begin, or begin again, to look for an offset."""
        self._passed[offset] = False
        heapq.heappush(self._ahead, offset)

    def discard(self, offset: int) -> None:
        """It was found, or is given up."""
        self._passed.pop(offset, None)

    def read_again(self, offset: int) -> None:
        """A record of the main topic came once more: what is wanted and stands before it would have come first."""
        while self._ahead and self._ahead[0] < offset:
            wanted = heapq.heappop(self._ahead)
            if wanted in self._passed:
                self._passed[wanted] = True

    def passed(self, offset: int) -> bool:
        """Whether the main topic was read again beyond a wanted offset."""
        return self._passed.get(offset, False)
