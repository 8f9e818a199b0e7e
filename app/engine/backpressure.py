"""Back-pressure: how many events a worker takes before earlier events have an outcome."""

from __future__ import annotations

import asyncio

# The events of one consumer may take half of the room that is still free. So a hot consumer leaves room for the others,
# and so do several hot consumers: with n of them at their limit, a share of 1 / (1 + n / 2) stays free (dynamic
# thresholds, as in switches that share their memory among queues).
SHARE_OF_FREE = 2
# Each consumer may have at least this many events, or a quarter of a small room, even if less is free: with a backlog,
# the events of many consumers fill the room.
LEAST_SHARE = 16


class Room:
    """How many events may wait, taken or parked, before the next one must wait to be taken.

    Args:
        size: the limit for taken events without an outcome.
        parked: the limit for events in the retry topic. A take-over may bring more.

    ``taken``, ``parked``: how many of each there are now.
    """

    def __init__(self, size: int, parked: int) -> None:
        self._size = size
        self._most_parked = parked
        self.taken = self.parked = 0
        self._free = asyncio.Event()
        self._free.set()

    def enter(self) -> None:
        """An event was taken."""
        self.taken += 1
        self._look()

    def leave(self) -> None:
        """A taken event has its outcome, is parked, or was dropped."""
        self.taken -= 1
        self._look()

    def park(self, events: int = 1) -> None:
        """More events wait in the retry topic; fewer, if the number is negative."""
        self.parked += events
        self._look()

    @property
    def share(self) -> int:
        """How many taken events one consumer may have."""
        return max(min(LEAST_SHARE, self._size // 4), (self._size - self.taken) // SHARE_OF_FREE, 1)

    def clear(self) -> None:
        """All events were dropped: the partitions went away."""
        self.taken = self.parked = 0
        self._look()

    def waiting(self) -> int:
        """How many events have no outcome yet: taken or parked."""
        return self.taken + self.parked

    @property
    def full_of_parked(self) -> bool:
        """Whether no more events may be parked."""
        return self.parked >= self._most_parked

    @property
    def is_free(self) -> bool:
        """Whether an event may be taken."""
        return self._free.is_set()

    async def free(self) -> None:
        """Return when there is room."""
        await self._free.wait()

    def _look(self) -> None:
        if self.taken < self._size and not self.full_of_parked:
            self._free.set()
        else:
            self._free.clear()
