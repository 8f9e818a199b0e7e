"""Which consumers of a partition are parked, with which events, and what these count towards. No I/O."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator

from app.delivery.parked_events import ParkedEvent
from app.engine.backpressure import Room
from app.engine.record_room import RecordRoom

# Something that is done for a consumer while none of its events runs.
Job = Callable[[], Awaitable[None]]


class ParkedConsumer:
    """The main offsets of a consumer's parked events, lowest first.

    ``jobs``: what is done for the consumer before the next of them.

    ``failing``: an attempt failed, or the target cannot be used. If not, the consumer only has more events than its
    share of the room; such events do not count towards ``SYNC_MAX_PARKED``.
    ``wake``: set when something may have changed that the consumer's task waits for.
    """

    __slots__ = ("_heap", "_turn", "failing", "jobs", "offsets", "wake")

    def __init__(self, offsets: Iterable[int] = (), *, failing: bool = False) -> None:
        self.offsets = set(offsets)
        self.failing = failing
        self.jobs: deque[Job] = deque()
        self.wake = asyncio.Event()
        self._heap = sorted(self.offsets)
        self._turn: tuple[int, int, float] = (-1, -1, 0.0)  # offset, attempts, when it may run (monotonic)

    def add(self, offset: int) -> None:
        """One more event waits."""
        if offset not in self.offsets:
            self.offsets.add(offset)
            heapq.heappush(self._heap, offset)

    def discard(self, offset: int) -> bool:
        """An event no longer waits. Returns whether it did before."""
        if offset not in self.offsets:
            return False
        self.offsets.discard(offset)
        while self._heap and self._heap[0] not in self.offsets:
            heapq.heappop(self._heap)
        return True

    def wait_seconds(self, offset: int, entry: ParkedEvent, now_ms: int, clock: float) -> float:
        """Seconds until an event may run; 0 or less: now.

        The due time was written by the clock of the worker that tried the event last. That clock may have been wrong,
        and this worker's may be set while the event waits. So the event waits at most for its back-off, counted from
        the first time that this is asked.

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


class ParkedConsumers:
    """The parked consumers of one partition, by ID.

    ``beyond_share``: parked events of consumers that do not fail.

    Args:
        room: of the worker; parked events of failing consumers take some of it.
        record_room: of the partition record; every parked event takes some of it.
    """

    def __init__(self, room: Room, record_room: RecordRoom) -> None:
        self.beyond_share = 0
        self._room = room
        self._record_room = record_room
        self._by_id: dict[str, ParkedConsumer] = {}

    def __contains__(self, consumer: str) -> bool:
        return consumer in self._by_id

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[ParkedConsumer]:
        return iter(self._by_id.values())

    def add(self, offset: int, entry: ParkedEvent, *, failing: bool) -> ParkedConsumer | None:
        """Park an event. Returns its consumer if that was not parked before."""
        consumer = entry.consumer
        parked, new = self._by_id.get(consumer), None
        if parked is None:
            parked = new = self._by_id[consumer] = ParkedConsumer(failing=failing)
        elif failing:
            self._fails(parked)
        self._record_room.park(offset, entry, first=not parked.offsets)
        parked.add(offset)
        self._count(parked, 1)
        return new

    def hold(self, consumer: str, job: Job) -> ParkedConsumer | None:
        """Do something for a consumer; its events wait meanwhile. Returns the consumer if it was not parked before."""
        parked, new = self._by_id.get(consumer), None
        if parked is None:
            parked = new = self._by_id[consumer] = ParkedConsumer()
        parked.jobs.append(job)
        parked.wake.set()
        return new

    def has_events(self, consumer: str) -> bool:
        """Whether events of a consumer are parked."""
        parked = self._by_id.get(consumer)
        return parked is not None and bool(parked.offsets)

    def remove(self, consumer: str, offset: int) -> None:
        """An event has its outcome."""
        if (parked := self._by_id.get(consumer)) and parked.discard(offset):
            parked.wake.set()
            self._count(parked, -1)
            self._record_room.unpark(offset, consumer, last=not parked.offsets)

    def fails(self, consumer: str) -> None:
        """From now on the consumer's events count as parked because of a failure."""
        if parked := self._by_id.get(consumer):
            self._fails(parked)

    def unpark(self, consumer: str) -> None:
        """Nothing of the consumer is parked any more: its next events run from the main topic again."""
        del self._by_id[consumer]

    def wake(self, consumer: str) -> None:
        """Something that the consumer's parked events may have waited for has changed."""
        if parked := self._by_id.get(consumer):
            parked.wake.set()

    def wake_all(self) -> None:
        """Something that all of them may have waited for has changed."""
        for parked in self._by_id.values():
            parked.wake.set()

    def _fails(self, parked: ParkedConsumer) -> None:
        if not parked.failing:
            self._count(parked, -len(parked.offsets))
            parked.failing = True
            self._count(parked, len(parked.offsets))

    def _count(self, parked: ParkedConsumer, events: int) -> None:
        if parked.failing:
            self._room.park(events)
        else:
            self.beyond_share += events
