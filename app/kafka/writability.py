"""Topics that take no writes at the moment: one task tries again, their other writes wait. Other topics go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from aiokafka.errors import KafkaError

from app.kafka.refusals import what_to_do

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Between two attempts to write to a topic that refused the last write.
TRY_SECONDS = 1.0
# A write takes milliseconds, and some seconds while a new leader is elected. One that takes longer than this is logged.
SLOW_SECONDS = 15.0
LOOK_SECONDS = 2.0

_SILENT = (
    "no broker acknowledges what is written to topic {topic}: is it away, its disk full, a partition without a leader?"
)


@dataclass(slots=True)
class _Closed:
    """A topic that refused a write.

    ``changed`` is set when the topic takes a write again, or the task that tries gives up. ``tried``: a task tries.
    """

    reason: str
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    tried: bool = False


class Writability:
    """Which topics take writes.

    Args:
        tried_on: why the client itself repeats the last write to a topic; None: it does not.
        clock: monotonic seconds.
    """

    def __init__(
        self, tried_on: Callable[[str], KafkaError | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tried_on = tried_on
        self._clock = clock
        self._closed: dict[str, _Closed] = {}
        self._under_way: dict[object, tuple[Collection[str], float]] = {}
        self._waiting: set[asyncio.Task[object]] = set()
        self._told: dict[str, str] = {}

    def begin(self, topics: Collection[str]) -> object:
        """A write begins. Pass the result to ``end``."""
        token = object()
        self._under_way[token] = topics, self._clock()
        return token

    def end(self, token: object) -> None:
        """The write has ended, successfully or not."""
        del self._under_way[token]

    def is_closed(self, topic: str) -> bool:
        """Whether the last write to the topic was refused."""
        return topic in self._closed

    @property
    def waiting(self) -> frozenset[asyncio.Task[object]]:
        """Tasks whose writes wait for a topic. None of their writes is in progress."""
        return frozenset(self._waiting)

    async def until_written(
        self, topic: str, write: Callable[[], Awaitable[T]], refused: KafkaError | None = None
    ) -> T:
        """Write as soon as the topic takes the write. One task at a time tries; the others wait for its result.

        Args:
            refused: the error with which the write was refused already.

        Raises:
            KafkaError: the write failed in a way that does not pass.
        """
        mine: _Closed | None = None
        task = asyncio.current_task()
        assert task is not None
        try:
            while True:
                if refused is not None:
                    reason = what_to_do(refused, topic)
                    if reason is None:
                        raise refused
                    self._closed.setdefault(topic, _Closed(reason)).reason = reason
                    refused = None
                    self.tell()
                closed_now = self._closed.get(topic)
                if closed_now is not None:
                    self._waiting.add(task)
                    if closed_now is mine or not closed_now.tried:
                        mine, closed_now.tried = closed_now, True
                        await asyncio.sleep(TRY_SECONDS)
                    else:
                        await closed_now.changed.wait()
                        continue
                self._waiting.discard(task)
                try:
                    done = await write()
                except KafkaError as error:
                    refused = error
                    continue
                self._open(topic)
                return done
        finally:
            self._waiting.discard(task)
            if mine is not None and self._closed.get(topic) is mine:
                # Another waiting task tries from now on.
                mine.tried = False
                changed, mine.changed = mine.changed, asyncio.Event()
                changed.set()

    def _open(self, topic: str) -> None:
        if (closed := self._closed.pop(topic, None)) is not None:
            closed.changed.set()
            self.tell()

    def reasons(self) -> dict[str, str]:
        """Topic -> why its writes wait, and what to do."""
        found = {topic: closed.reason for topic, closed in self._closed.items()}
        now = self._clock()
        slow = {
            topic for topics, since in list(self._under_way.values()) if now - since >= SLOW_SECONDS for topic in topics
        }
        for topic in slow:
            if topic not in found:
                error = self._tried_on(topic)
                why = None if error is None else what_to_do(error, topic)
                found[topic] = why or _SILENT.format(topic=topic)
        return found

    async def watch(self) -> None:
        """Log which topics take no writes, and when they do again. Never returns."""
        while True:
            self.tell()
            await asyncio.sleep(LOOK_SECONDS)

    def tell(self) -> None:
        """As ``watch``, once."""
        reasons = self.reasons()
        for topic, reason in reasons.items():
            if self._told.get(topic) != reason:
                log.error("writes wait, everything else goes on", topic=topic, reason=reason)
        for topic in self._told.keys() - reasons.keys():
            log.info("the topic takes writes again", topic=topic)
        self._told = reasons
