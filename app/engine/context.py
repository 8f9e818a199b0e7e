"""What the owned partitions of a worker share."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.backoff import delay_seconds
from app.engine.breaker import Breaker
from app.engine.lease import Lease
from app.engine.ledger import Ledger
from app.engine.producer import DurableProducer
from app.engine.work import ConsumerStates, Flow, Observer
from app.settings import KafkaSettings, SyncSettings


class Room:
    """Back-pressure: how many taken events may wait for their outcome before the next one is not taken."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._free = asyncio.Event()
        self._free.set()

    def enter(self) -> None:
        """An event was taken."""
        self._taken += 1
        if self._taken >= self._size:
            self._free.clear()

    def leave(self) -> None:
        """A taken event has its outcome, is parked, or was dropped."""
        self._taken -= 1
        if self._taken < self._size:
            self._free.set()

    def clear(self) -> None:
        """Everything taken was dropped: the partitions went away."""
        self._taken = 0
        self._free.set()

    async def free(self) -> None:
        """Return when there is room."""
        await self._free.wait()


def now_ms() -> int:
    """Wall clock, ms since the epoch: due times have to hold across restarts and workers."""
    return int(time.time() * 1000)


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
    breaker: Breaker
    slots: asyncio.Semaphore
    room: Room
    crash: Callable[[BaseException], None]  # a bug of the engine itself: the worker must not go on
    random: Callable[[], float] = field(default=random.random)
    parked: int = 0  # events parked on all owned partitions
    in_flight: int = 0  # events being worked on

    def due_ms(self, attempt: int, retry_after: float | None = None) -> int:
        """When the next attempt may start, ``attempt`` having failed; not before the target asked for it."""
        delay = delay_seconds(attempt, self.sync.backoff_base_seconds, self.sync.backoff_max_seconds, self.random())
        return now_ms() + int(max(delay, retry_after or 0.0) * 1000)
