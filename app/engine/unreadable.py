"""Partitions whose next batch cannot be read: its CRC is wrong, or its content makes no sense.

Nothing may be skipped. So such a partition waits and is fetched again every 15 s, while the others go on. Another
replica may hold the batch intact. If none does, only a person may give its events up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import structlog

from app.delivery.record import TopicPartition

log = structlog.get_logger(__name__)

# Between two fetches of a batch that cannot be read.
AGAIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Batch:
    """A damaged batch: its first and last offset according to its header (None: not known).

    ``position``: the offset from which nothing can be read.
    """

    first: int | None = None
    last: int | None = None
    position: int = 0

    def at(self, position: int) -> Batch:
        """This batch, with reading at ``position``. Its header counts only if it covers that offset.

        >>> Batch(4, 7).at(5)
        Batch(first=4, last=7, position=5)
        >>> Batch(4, 7).at(12)
        Batch(first=None, last=None, position=12)
        """
        if self.last is None or self.last < position:
            return Batch(position=position)
        return replace(self, position=position)


def description(tp: TopicPartition, batch: Batch, why: str) -> str:
    """Which batch cannot be read, and what an operator can do."""
    topic, number = tp
    if batch.last is None:
        place, behind = f"the batch at offset {batch.position}", "the first offset behind it"
    else:
        place, behind = f"the batch of offsets {batch.first} to {batch.last}", f"offset {batch.last + 1}"
    return (
        f"partition {number} of {topic} cannot be read from offset {batch.position} on: {place} is damaged ({why}). "
        "Restore the partition from a replica that has it whole. If there is none, give the batch up: run "
        f"kafka-delete-records up to {behind}, where the work then goes on. The events lost with it are logged and "
        "counted as cut off. Moving the group's offset changes nothing"
    )


@dataclass(frozen=True, slots=True)
class _Damaged:
    position: int
    text: str
    again: float | None  # monotonic seconds; None: is being tried


class Unreadable:
    """The partitions that cannot be read now. May be used from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[TopicPartition, _Damaged] = {}

    def note(self, tp: TopicPartition, batch: Batch, why: str) -> None:
        """A fetch at ``batch.position`` returned a damaged batch."""
        text = description(tp, batch, why)
        with self._lock:
            before = self._known.get(tp)
            self._known[tp] = _Damaged(batch.position, text, self._clock() + AGAIN_SECONDS)
        if before is None or before.text != text:
            log.error(
                "a batch cannot be read; its partition waits, the others go on",
                topic=tp[0],
                partition=tp[1],
                offset=batch.position,
                last=batch.last,
                reason=text,
                again_seconds=AGAIN_SECONDS,
            )

    def over(self, tp: TopicPartition) -> None:
        """The batch was read, or its partition is no longer assigned."""
        with self._lock:
            known = self._known.pop(tp, None)
        if known is not None:
            log.info("a partition is read again", topic=tp[0], partition=tp[1], was=known.text)

    def __bool__(self) -> bool:
        return bool(self._known)

    def positions(self) -> dict[TopicPartition, int]:
        """The first offset that cannot be read, of each such partition."""
        with self._lock:
            return {tp: known.position for tp, known in self._known.items()}

    def waits(self, tp: TopicPartition) -> bool:
        """Whether the partition must not be fetched now."""
        known = self._known.get(tp)
        return known is not None and known.again is not None and self._clock() < known.again

    def due(self, tp: TopicPartition) -> bool:
        """Whether the next fetch is another attempt; true once per attempt."""
        with self._lock:
            known = self._known.get(tp)
            if known is None or known.again is None or self._clock() < known.again:
                return False
            self._known[tp] = replace(known, again=None)
            return True

    def why(self, tp: TopicPartition) -> str | None:
        """What is wrong with a partition; None: nothing."""
        known = self._known.get(tp)
        return None if known is None else known.text

    def reasons(self, tps: Collection[TopicPartition]) -> list[str]:
        """What is wrong with each of these partitions that cannot be read."""
        return [text for tp in sorted(tps) if (text := self.why(tp)) is not None]
