"""Back-pressure: how many events a worker takes before earlier ones have an outcome."""

from __future__ import annotations

import asyncio

# One consumer's events may hold this part of the room that is still free, so that a hot consumer leaves room to all
# others, and several of them too: with n at their limit a share of 1 / (1 + n / 2) stays free (dynamic thresholds, as
# in switches that share their memory among queues) ...
SHARE_OF_FREE = 2
# ... but always so many, or a quarter of a small room: with a backlog the room is full of everybody's events.
LEAST_SHARE = 16


class Room:
    """Back-pressure: how many events may wait, taken or parked, before the next one is not taken.

    Args:
        size: taken events without an outcome.
        parked: events in the retry topic; those that a take-over brings may be more.

    ``taken`` and ``parked`` say how many there are of each.
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
        """So many more events wait in the retry topic."""
        self.parked += events
        self._look()

    @property
    def share(self) -> int:
        """How many taken events one consumer may have."""
        return max(min(LEAST_SHARE, self._size // 4), (self._size - self.taken) // SHARE_OF_FREE, 1)

    def clear(self) -> None:
        """Everything taken was dropped: the partitions went away."""
        self.taken = self.parked = 0
        self._look()

    def waiting(self) -> int:
        """How many events have no outcome yet: taken or parked."""
        return self.taken + self.parked

    @property
    def full_of_parked(self) -> bool:
        """Whether nothing more may be parked."""
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
