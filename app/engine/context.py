"""What the owned partitions of a worker share."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from app.delivery.backoff import delay_seconds
from app.delivery.pipeline import Pipeline
from app.engine.backpressure import Room
from app.engine.breaker import Breaker
from app.engine.commit_turns import Turns
from app.engine.flow import ConsumerStates, Flow, NoTopics, Observer, Topics
from app.engine.gates import Gates
from app.engine.lease import Lease
from app.engine.ledger import Ledger
from app.engine.letter_sources import Letters, LetterValues, NoLetters, NoTasks, NoValues, Tasks
from app.engine.rights import Rights
from app.engine.unreadable import Unreadable
from app.kafka.durable_producer import DurableProducer
from app.settings import KafkaSettings, SyncSettings


class EngineStopped(Exception):
    """The engine cannot go on, for a reason that its operator can remove; the text says which, and how."""


def now_ms() -> int:
    """Wall clock, ms since the epoch: due times must hold across restarts and workers."""
    return int(time.time() * 1000)


def utc_today() -> date:
    """The day it is in UTC."""
    return datetime.now(UTC).date()


@dataclass(slots=True)
class EngineContext:
    """The parts of a worker that all its partitions share, and its settings."""

    pipeline: Pipeline
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
    random: Callable[[], float] = field(default=random.random)
    kpi_keep_days: int = 400
    dlq_keep_days: int = 90
    today: Callable[[], date] = field(default=utc_today)
    archive_seconds: float = 60.0  # between two moves of closed days out of a partition's record
    rights: Rights = field(default_factory=Rights)  # which are missing now
    unreadable: Unreadable = field(default_factory=Unreadable)  # partitions whose next batch is damaged
    gates: Gates = field(default_factory=lambda: Gates(5.0))
    turns: Turns = field(default_factory=Turns)  # which partition may write its group commit
    letters: Letters = field(default_factory=NoLetters)
    operator_tasks: Tasks = field(default_factory=NoTasks)
    letter_values: LetterValues = field(default_factory=NoValues)
    in_flight: int = 0  # attempts under way

    def others_are_up(self, breaker: Breaker) -> bool:
        """Whether no event of this target may begin while events of another one may."""
        return breaker.is_held and any(not other.is_held for other in self.breakers.values())

    @property
    def all_down(self) -> bool:
        """Whether all targets are down, and an event waits to probe each of them."""
        return all(breaker.is_open and breaker.has_prober for breaker in self.breakers.values())

    def due_ms(self, attempt: int, retry_after: float | None = None) -> int:
        """When the next attempt may start, ``attempt`` having failed; not before the target asked for it."""
        delay = delay_seconds(attempt, self.sync.backoff_base_seconds, self.sync.backoff_max_seconds, self.random())
        # Rounded up, and the current millisecond too: a call that comes too early is refused and costs an attempt.
        return now_ms() + 1 + math.ceil(max(delay, retry_after or 0.0) * 1000)
