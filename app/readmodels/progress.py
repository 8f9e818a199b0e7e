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

    Freshness: the follower looks at the ends of the topics at intervals. Once everything below those ends is applied,
    the read models are as fresh as that look, no matter what was written after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: dict[TopicPartition, int] = {}
        self._waiters: list[_Waiter] = []
        self._look: tuple[float, dict[TopicPartition, int]] | None = None
        self._fresh_as_of: float | None = None
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
            self._fresh_as_of = None

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
            self._settle_look()
            ready = [w for w in self._waiters if self._there(w)]
            self._waiters = [w for w in self._waiters if w not in ready] if ready else self._waiters
        for waiter in ready:
            _wake(waiter)

    def looked(self, ends: Mapping[TopicPartition, int], at: float) -> None:
        """Note that the topics had these ends at monotonic time ``at``."""
        with self._lock:
            self._look = (at, dict(ends))
            self._settle_look()

    def ends_unknown(self) -> None:
        """Note that the topics' ends are unknown, so nothing counts as fresh."""
        with self._lock:
            self._fresh_as_of = self._look = None

    def _settle_look(self) -> None:
        if self._look is not None:
            at, ends = self._look
            if all(self._positions.get(key, 0) >= end for key, end in ends.items()):
                self._fresh_as_of, self._look = at, None

    @property
    def look_open(self) -> bool:
        """Whether the ends of the last look are not reached yet."""
        return self._look is not None

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
        fresh = self._fresh_as_of
        return time.monotonic() - (self._began if fresh is None else fresh)

    def caught_up(self, tolerance: float) -> bool:
        """Whether the read models held everything at some time within the last ``tolerance`` seconds."""
        fresh = self._fresh_as_of
        return fresh is not None and time.monotonic() - fresh < tolerance and not self._building

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
