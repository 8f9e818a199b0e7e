"""What the owned partitions of a worker share."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from app.delivery.backoff import delay_seconds
from app.engine.breaker import Breaker
from app.engine.commit_turns import Turns
from app.engine.flow import ConsumerStates, Flow, NoTopics, Observer, Topics
from app.engine.gates import Gates
from app.engine.lease import Lease
from app.engine.ledger import Ledger
from app.engine.rights import Rights
from app.engine.unreadable import Unreadable
from app.kafka.durable_producer import DurableProducer
from app.settings import KafkaSettings, SyncSettings


class EngineStopped(Exception):
    """The engine cannot go on, for a reason that its operator can mend; the text says which and how."""


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


def now_ms() -> int:
    """Wall clock, ms since the epoch: due times have to hold across restarts and workers."""
    return int(time.time() * 1000)


def utc_today() -> date:
    """The day it is in UTC."""
    return datetime.now(UTC).date()


@dataclass(slots=True)
class EngineContext:
    """The worker's one of each, and its settings."""

    kafka: KafkaSettings
    sync: SyncSettings
    flow: Flow
    producer: DurableProducer
    ledger: Ledger
    lease: Lease
    states: ConsumerStates
    observer: Observer
    breakers: Mapping[str, Breaker]  # one for each target that the flow may name
    slots: asyncio.Semaphore
    room: Room
    crash: Callable[[BaseException], None]  # a bug of the engine itself: the worker must not go on
    topics: Topics = field(default_factory=NoTopics)
    flow_name: str = "consumers"
    random: Callable[[], float] = field(default=random.random)
    kpi_keep_days: int = 400
    today: Callable[[], date] = field(default=utc_today)
    archive_seconds: float = 60.0  # between two moves of closed days out of a partition's record
    rights: Rights = field(default_factory=Rights)  # those that are missing now
    unreadable: Unreadable = field(default_factory=Unreadable)  # partitions whose next batch is damaged
    gates: Gates = field(default_factory=lambda: Gates(5.0))
    turns: Turns = field(default_factory=Turns)  # whose group commit may go out
    in_flight: int = 0  # events being worked on

    def others_are_up(self, breaker: Breaker) -> bool:
        """Whether no event of this target may begin, and those of another one may."""
        return breaker.is_held and any(not other.is_held for other in self.breakers.values())

    @property
    def all_down(self) -> bool:
        """Whether no target takes events, and each has somebody who waits to find out when it does again."""
        return all(breaker.is_open and breaker.has_prober for breaker in self.breakers.values())

    def due_ms(self, attempt: int, retry_after: float | None = None) -> int:
        """When the next attempt may start, ``attempt`` having failed; not before the target asked for it."""
        delay = delay_seconds(attempt, self.sync.backoff_base_seconds, self.sync.backoff_max_seconds, self.random())
        return now_ms() + int(max(delay, retry_after or 0.0) * 1000)
