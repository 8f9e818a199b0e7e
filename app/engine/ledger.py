"""Which offsets may be committed.

Faust forgets records between the broker and the agent when a rebalance starts, and its own commit arithmetic takes
some holes for done work. The ledger therefore starts where nothing can be lost yet: at the moment the broker hands a
record over. Invariants, per topic partition:

* An offset is *open* from the moment it was fetched until it is closed; it is closed when its outcome is safe.
* Committable = the lowest open offset, else the highest fetched + 1. Offsets that were never received (compaction,
  transaction markers) are never opened, so gaps need no rule of their own.
* An offset is *claimed* at most once between two ``forget``s: a redelivery of claimed or closed work is ignored.
* The values of open offsets are in memory; their sizes are added up, so that somebody can say when it is enough.
* Records reach their agent in order. So an offset that is still unclaimed when a later one arrives was dropped on the
  way (``overtaken``), and the later one must not be worked on before it.
* An offset is an event's name within one log only. When a topic loses its log, another record gets the same offset. So
  the ledger begins again (``begin_again``): no old offset is open any more, and ``logs`` counts the partition's logs.
  Whoever got an offset from an earlier log neither claims nor closes it. The old record may still be worked on: it is
  in memory, and nothing in the topic stands for it.

Used from the event loop's thread only.
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
    order: deque[int] = field(default_factory=deque)  # ascending; closed offsets leave it at the front only
    open: dict[int, int] = field(default_factory=dict)  # -> bytes of the record
    bytes: int = 0  # of all that is open
    claimed: set[int] = field(default_factory=set)  # always a subset of open
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
        """Open what the broker handed over (ascending). Offsets at or below the highest seen are not opened again.

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
        """Nothing was fetched yet; everything below ``offset`` is decided, and so may be committed."""
        self._partitions[tp] = _Partition(high=offset - 1)

    def begin_again(self, tp: TopicPartition, offset: int) -> None:
        """What was read of the partition is not there any more; it goes on at ``offset``, with other records."""
        self.logs[tp] = self.log(tp) + 1
        self.begin(tp, offset)

    def log(self, tp: TopicPartition) -> int:
        """Which log of the partition the offsets belong to now; it changes when the log is lost."""
        return self.logs.get(tp, 0)

    def overtaken(self, tp: TopicPartition, offset: int) -> int | None:
        """The lowest fetched offset before this one that never arrived; None: all is in order."""
        partition = self._partitions.get(tp)
        if partition is None or not partition.unclaimed or partition.unclaimed[0] >= offset:
            return None
        return partition.unclaimed[0]

    def claim(self, tp: TopicPartition, offset: int) -> bool:
        """True the first time for an open offset: the caller now answers for it."""
        partition = self._partitions.get(tp)
        if partition is None or offset not in partition.open or offset in partition.claimed:
            return False
        partition.claimed.add(offset)
        partition.drop_unclaimed(offset)
        return True

    def release(self, tp: TopicPartition, offset: int) -> None:
        """Nobody answers for a claimed offset any more: it may be claimed again when it is fetched again."""
        partition = self._partitions.get(tp)
        if partition is not None and offset in partition.claimed:
            partition.claimed.discard(offset)
            partition.unclaimed = deque(sorted((*partition.unclaimed, offset)))

    def close(self, tp: TopicPartition, offset: int) -> None:
        """The outcome of the offset is safe. Unknown offsets (of an earlier generation) are ignored."""
        partition = self._partitions.get(tp)
        if partition is not None and offset in partition.open:
            partition.bytes -= partition.open.pop(offset)
            if offset in partition.claimed:
                partition.claimed.discard(offset)
            else:
                partition.drop_unclaimed(offset)
            partition.trim()

    def committable(self, tp: TopicPartition) -> int | None:
        """The offset to commit (the next one to read after a restart); None when nothing was fetched."""
        upto = self.settled_upto(tp)
        return None if upto is None else upto + 1

    def settled_upto(self, tp: TopicPartition, done: Collection[int] = ()) -> int | None:
        """Highest offset with nothing open at or below it, ``done`` counting as closed; None: nothing was fetched."""
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
        """The lowest unclaimed offset; None: everything that was fetched has arrived."""
        partition = self._partitions.get(tp)
        return partition.unclaimed[0] if partition is not None and partition.unclaimed else None

    def claimed(self, tp: TopicPartition) -> frozenset[int]:
        """Open offsets that somebody answers for."""
        partition = self._partitions.get(tp)
        return frozenset(partition.claimed) if partition is not None else frozenset()

    def span(self, tp: TopicPartition) -> int:
        """How many fetched offsets there are from the lowest open one on, closed ones included."""
        partition = self._partitions.get(tp)
        return 0 if partition is None else len(partition.order)

    def open_bytes(self, tp: TopicPartition) -> int:
        """Bytes of the records that are open, and so in memory."""
        partition = self._partitions.get(tp)
        return 0 if partition is None else partition.bytes

    def high(self, tp: TopicPartition) -> int:
        """The highest fetched offset; -1: nothing was fetched."""
        partition = self._partitions.get(tp)
        return -1 if partition is None else partition.high

    def partitions(self) -> list[TopicPartition]:
        """Everything fetched since the last ``forget``."""
        return list(self._partitions)

    def forget(self, tps: Iterable[TopicPartition] | None = None) -> None:
        """Drop partitions that are no longer owned (None: all); their open offsets will be fetched again."""
        for tp in list(self._partitions) if tps is None else tps:
            self._partitions.pop(tp, None)
            self.logs.pop(tp, None)
