"""Which offsets may be committed.

Faust drops records between the broker and the agent when a rebalance starts, and its own commit arithmetic takes some
holes for done work. The ledger therefore starts where nothing can be lost yet: when the broker hands a record over.
Invariants, per topic partition:

* An offset is *open* from the moment it was fetched until it is closed. It is closed when its outcome is safe.
* The offset to commit is the lowest open one, or the highest fetched + 1 if none is open. Offsets that were never
  received (compaction, transaction markers) are never opened, so gaps need no rule of their own.
* An offset is *claimed* at most once between two ``forget``s: a redelivery of claimed or closed work is ignored.
* The values of open offsets are in memory. The ledger adds up their sizes, so that fetching can stop in time.
* Records reach their agent in order. So an offset that is still unclaimed when a later one arrives was dropped on the
  way (``overtaken``), and the later one must wait for it.
* An offset identifies an event within one log only. When a topic loses its log, another record gets the same offset.
  Then the ledger begins again (``begin_again``): it closes all old offsets, and ``logs`` counts the partition's logs.
  A handler with a record of an earlier log neither claims nor closes its offset. It may still work on the record: that
  is in memory, and the topic no longer holds it.

Used in the event loop's thread only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from app.delivery.record import TopicPartition


@dataclass(slots=True)
class _Partition:
    high: int = -1
    order: deque[int] = field(default_factory=deque)  # ascending; closed offsets are removed only from the front
    open: dict[int, int] = field(default_factory=dict)  # offset -> bytes of its record
    bytes: int = 0  # of all open records
    claimed: set[int] = field(default_factory=set)  # always a subset of ``open``
    unclaimed: deque[int] = field(default_factory=deque)  # ascending: open and not claimed

    def trim(self) -> None:
        while self.order and self.order[0] not in self.open:
            self.order.popleft()

    def drop_unclaimed(self, offset: int) -> None:
        if self.unclaimed and self.unclaimed[0] == offset:
            self.unclaimed.popleft()
        else:
            self.unclaimed.remove(offset)


class Ledger:
    """Open and claimed offsets of the owned partitions."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self.logs: dict[TopicPartition, int] = {}  # partitions that began again -> how often

    def fetched(self, tp: TopicPartition, offsets: Sequence[int], sizes: Iterable[int] = repeat(0)) -> None:
        """Open the offsets that the broker handed over (ascending). None at or below the highest seen is opened again.

        Args:
            sizes: bytes of the record at each offset.
        """
        partition = self._partitions.setdefault(tp, _Partition())
        for offset, size in zip(offsets, sizes, strict=False):
            if offset > partition.high:
                partition.order.append(offset)
                partition.open[offset] = size
                partition.bytes += size
                partition.unclaimed.append(offset)
                partition.high = offset

    def begin(self, tp: TopicPartition, offset: int) -> None:
        """Nothing was fetched yet. Everything below ``offset`` is decided, so ``offset`` may be committed."""
        self._partitions[tp] = _Partition(high=offset - 1)

    def begin_again(self, tp: TopicPartition, offset: int) -> None:
        """The partition lost its log. It goes on at ``offset``, with other records."""
        self.logs[tp] = self.log(tp) + 1
        self.begin(tp, offset)

    def log(self, tp: TopicPartition) -> int:
        """The number of the partition's current log: how often it has lost its log in this generation."""
        return self.logs.get(tp, 0)

    def overtaken(self, tp: TopicPartition, offset: int) -> int | None:
        """The lowest fetched offset before this one that has not arrived; None: all is in order."""
        partition = self._partitions.get(tp)
        if partition is None or not partition.unclaimed or partition.unclaimed[0] >= offset:
            return None
        return partition.unclaimed[0]

    def claim(self, tp: TopicPartition, offset: int) -> bool:
        """Claim an open offset; True only the first time. The caller then answers for it."""
        partition = self._partitions.get(tp)
        if partition is None or offset not in partition.open or offset in partition.claimed:
            return False
        partition.claimed.add(offset)
        partition.drop_unclaimed(offset)
        return True

    def release(self, tp: TopicPartition, offset: int) -> None:
        """Give a claimed offset back. It may be claimed again when it is fetched again."""
        partition = self._partitions.get(tp)
        if partition is not None and offset in partition.claimed:
            partition.claimed.discard(offset)
            partition.unclaimed = deque(sorted((*partition.unclaimed, offset)))

    def close(self, tp: TopicPartition, offset: int) -> None:
        """Close an offset: its outcome is safe. Unknown offsets (of an earlier generation) are ignored."""
        partition = self._partitions.get(tp)
        if partition is not None and offset in partition.open:
            partition.bytes -= partition.open.pop(offset)
            if offset in partition.claimed:
                partition.claimed.discard(offset)
            else:
                partition.drop_unclaimed(offset)
            partition.trim()

    def committable(self, tp: TopicPartition) -> int | None:
        """The offset to commit: the next one to read after a restart. None: nothing was fetched."""
        upto = self.settled_upto(tp)
        return None if upto is None else upto + 1

    def settled_upto(self, tp: TopicPartition, done: Collection[int] = ()) -> int | None:
        """The highest offset with nothing open at or below it; None: nothing was fetched.

        Args:
            done: open offsets that count as closed.
        """
        partition = self._partitions.get(tp)
        if partition is None:
            return None
        for offset in partition.order:
            if offset in partition.open and offset not in done:
                return offset - 1
        return partition.high

    def unclaimed(self, topic: str) -> int:
        """How many fetched records of a topic wait, unclaimed, in Faust's buffers."""
        return sum(len(p.unclaimed) for (name, _), p in self._partitions.items() if name == topic)

    def waiting(self, tp: TopicPartition) -> int | None:
        """The lowest unclaimed offset; None: everything that was fetched has been claimed."""
        partition = self._partitions.get(tp)
        return partition.unclaimed[0] if partition is not None and partition.unclaimed else None

    def claimed(self, tp: TopicPartition) -> frozenset[int]:
        """The open offsets that are claimed."""
        partition = self._partitions.get(tp)
        return frozenset(partition.claimed) if partition is not None else frozenset()

    def span(self, tp: TopicPartition) -> int:
        """How many offsets were fetched from the lowest open one on, including closed ones."""
        partition = self._partitions.get(tp)
        return 0 if partition is None else len(partition.order)

    def open_bytes(self, tp: TopicPartition) -> int:
        """Bytes of the open records, which are in memory."""
        partition = self._partitions.get(tp)
        return 0 if partition is None else partition.bytes

    def high(self, tp: TopicPartition) -> int:
        """The highest fetched offset; -1: nothing was fetched."""
        partition = self._partitions.get(tp)
        return -1 if partition is None else partition.high

    def partitions(self) -> list[TopicPartition]:
        """The partitions of which something was fetched since the last ``forget``."""
        return list(self._partitions)

    def forget(self, tps: Iterable[TopicPartition] | None = None) -> None:
        """Drop partitions that are no longer owned (None: all). Their next owner fetches their open offsets again."""
        for tp in list(self._partitions) if tps is None else tps:
            self._partitions.pop(tp, None)
            self.logs.pop(tp, None)
