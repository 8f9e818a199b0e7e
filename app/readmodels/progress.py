"""How far the read models have come. The follower's thread writes it, all others read it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from app.delivery.record import TopicPartition


@dataclass(slots=True, eq=False)
class _Waiter:
    key: TopicPartition
    offset: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Event


class Progress:
    """The positions (next offset to apply), the last look at the topics' ends, and the waiting callers.

    Freshness: the follower looks at the ends of the topics at intervals. Once everything below a topic's ends is
    applied, its data is as fresh as that look, no matter what was written after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: dict[TopicPartition, int] = {}
        self._waiters: list[_Waiter] = []
        # Topic -> when it was looked at, and the ends that are not reached yet.
        self._looks: dict[str, tuple[float, dict[int, int]]] = {}
        self._fresh_as_of: dict[str, float | None] = {}
        # What this session has to read: where it began, and where it ended when the session began.
        self._to_read: dict[TopicPartition, tuple[int, int]] = {}
        self._began = time.monotonic()
        # The topics that are being built: an answer is valid only from these offsets on (None: end not known yet).
        self._building: dict[str, dict[int, int] | None] = {}

    # For the follower.
    def build(self, topics: Iterable[str], ends: Mapping[TopicPartition, int] | None = None) -> None:
        """Answers about these topics are valid only from ``ends`` on, because their data is being read in."""
        with self._lock:
            for topic in topics:
                self._positions = {key: n for key, n in self._positions.items() if key[0] != topic}
                self._building[topic] = None if ends is None else {p: n for (t, p), n in ends.items() if t == topic}
                self._fresh_as_of[topic] = None

    def begin(self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
        """Note where a session begins to read, and the ends that it has to reach."""
        with self._lock:
            self._to_read = {key: (position, ends[key]) for key, position in positions.items() if key in ends}

    def moved(self, positions: Mapping[TopicPartition, int]) -> None:
        """Note that everything below these positions is applied."""
        with self._lock:
            self._positions.update(positions)
            for topic, ends in list(self._building.items()):
                if ends is not None:
                    left = {p: n for p, n in ends.items() if self._positions.get((topic, p), 0) < n}
                    if left:
                        self._building[topic] = left
                    else:
                        del self._building[topic]
            self._settle_looks()
            ready = [w for w in self._waiters if self._there(w)]
            self._waiters = [w for w in self._waiters if w not in ready] if ready else self._waiters
        for waiter in ready:
            _wake(waiter)

    def looked(self, ends: Mapping[TopicPartition, int], at: float) -> None:
        """Note that the topics had these ends at monotonic time ``at``."""
        with self._lock:
            for topic in {topic for topic, _ in ends}:
                self._looks[topic] = at, {p: end for (t, p), end in ends.items() if t == topic}
                self._fresh_as_of.setdefault(topic, None)
            self._settle_looks()

    def absent(self, topics: Iterable[str]) -> None:
        """Note that these topics do not exist, so that no answer waits for them."""
        with self._lock:
            for topic in topics:
                for known in (self._building, self._looks, self._fresh_as_of):
                    known.pop(topic, None)

    def ends_unknown(self) -> None:
        """Note that the topics' ends are unknown, so nothing counts as fresh."""
        with self._lock:
            self._fresh_as_of = dict.fromkeys(self._fresh_as_of)
            self._looks.clear()

    def _settle_looks(self) -> None:
        for topic, (at, ends) in list(self._looks.items()):
            if all(self._positions.get((topic, partition), 0) >= end for partition, end in ends.items()):
                self._fresh_as_of[topic] = at
                del self._looks[topic]

    @property
    def open_looks(self) -> set[str]:
        """The topics of which the ends of the last look are not reached yet."""
        with self._lock:
            return set(self._looks)

    def fresh_as_of(self, topic: str) -> float | None:
        """The monotonic time at which the topic held nothing that is not applied; None: not known."""
        return self._fresh_as_of.get(topic)

    @property
    def has_waiters(self) -> bool:
        """Whether a caller waits for a record to be applied, or a topic is being built."""
        return bool(self._waiters or self._building)

    def end_unknown(self, topic: str) -> bool:
        """Whether the topic is being built and its end is not known yet."""
        return topic in self._building and self._building[topic] is None

    # For other threads.
    def behind_seconds(self) -> float:
        """The age of the read models: how long ago they held everything."""
        with self._lock:
            times = list(self._fresh_as_of.values()) or [None]
        return time.monotonic() - min(self._began if fresh is None else fresh for fresh in times)

    def caught_up(self, tolerance: float, topics: Iterable[str] | None = None) -> bool:
        """Whether the data of ``topics`` (None: of all) was complete at some time within ``tolerance`` seconds."""
        with self._lock:
            names = list(self._fresh_as_of if topics is None else topics)
            now = time.monotonic()
            return bool(names) and all(
                (fresh := self._fresh_as_of.get(name)) is not None
                and now - fresh < tolerance
                and name not in self._building
                for name in names
            )

    def reading(self) -> tuple[int, int]:
        """How many records this session has read of those that the topics held when it began, and how many they are.

        Compaction leaves gaps, so both numbers are upper limits.
        """
        with self._lock:
            read = sum(
                min(max(self._positions.get(key, 0), begin), end) - begin for key, (begin, end) in self._to_read.items()
            )
            return read, sum(end - begin for begin, end in self._to_read.values())

    def building(self, topic: str, partition: int) -> bool:
        """Whether the data about this partition is still being read in."""
        if topic not in self._building:  # the usual case, without a lock
            return False
        with self._lock:
            return self._is_building((topic, partition))

    def _is_building(self, key: TopicPartition) -> bool:
        ends = self._building.get(key[0], {})
        return ends is None or key[1] in ends

    def _there(self, waiter: _Waiter) -> bool:
        return self._positions.get(waiter.key, -1) >= waiter.offset and not self._is_building(waiter.key)

    def position(self, topic: str, partition: int) -> int:
        """The offset below which everything is applied."""
        with self._lock:
            return self._positions.get((topic, partition), 0)

    async def wait_until(self, topic: str, partition: int, offset: int, timeout: float) -> bool:  # noqa: ASYNC109
        """Whether everything below ``offset`` was applied, and the partition was built, within ``timeout`` seconds."""
        waiter = _Waiter((topic, partition), offset, asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            if self._there(waiter):
                return True
            self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter.done.wait()
        except TimeoutError:
            return waiter.done.is_set()
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return True


def _wake(waiter: _Waiter) -> None:
    with suppress(RuntimeError):  # the waiter's event loop was closed
        waiter.loop.call_soon_threadsafe(waiter.done.set)
