"""Fetches records again that were lost between the broker and the work on them.

Two signs show a loss:

* A record arrives although an earlier one of its partition, fetched before it, has not. Faust has dropped the earlier
  one (it does so when a rebalance begins), and order requires that one first.
* An offset stays open although no task works on it, so nothing behind it would ever be committed. The cause is a bug,
  here or in the libraries, or an operator who has changed the topics. An offset only counts as stalled when it stays
  suspicious for a while (``stalls.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

import structlog

from app.delivery.record import TopicPartition
from app.engine.context import EngineContext
from app.engine.partition import Partition
from app.engine.stalls import Stalls, Suspect

log = structlog.get_logger(__name__)

# How often the main topic is read again from the offset of an event whose copy is gone. If no round finds the event, it
# is lost: no reading can bring it back, and its consumer's later events wait.
LOST_AFTER_ROUNDS = 3

# Events in a lane and parked events do not count, however long they take. The way to an agent takes milliseconds.
STALL_SECONDS = 30.0

NOT_WORKED_ON = "no task works on it"
NOT_ARRIVED = "it was fetched and never arrived"
NOT_IN_RETRY = "it is parked, but its copy is not in the retry topic"


class Healing:
    """What has to be fetched again, and why. The consumer calls ``rewinds`` before each fetch."""

    def __init__(self, context: EngineContext, stall_seconds: float) -> None:
        self._context = context
        self._stalls = Stalls(stall_seconds)
        self._rewinds: dict[TopicPartition, int] = {}
        self._rounds: Counter[Suspect] = Counter()

    @property
    def stalled_seconds(self) -> float:
        """For how long the oldest suspect has been suspicious; 0: there is none."""
        return self._stalls.seconds

    def forget(self) -> None:
        """The partitions go. Their next owner fetches what was lost."""
        self._rewinds.clear()
        self._rounds.clear()
        self._stalls.look(())

    def overtakes(self, tp: TopicPartition, offset: int) -> bool:
        """Whether an earlier record was dropped on the way. Then this one must not be taken; it will come again."""
        lost = self._context.ledger.overtaken(tp, offset)
        if lost is not None and self._rewind(tp, lost):
            log.warning(
                "a fetched record was dropped on the way; fetching it again", topic=tp[0], partition=tp[1], offset=lost
            )
        return lost is not None

    def look(
        self, partitions: Mapping[int, Partition], read_to_end: Callable[[TopicPartition], bool], alerts: str
    ) -> None:
        """Find what has stalled, report it and have it fetched again; called about once a second.

        Args:
            partitions: the owned partitions.
            read_to_end: whether everything in a topic partition has been fetched.
            alerts: the alerts topic, whose records are handled one at a time.
        """
        suspects = {suspect for p in partitions.values() for suspect in self._suspects(p, read_to_end)}
        suspects.update(self._waiting_alerts(alerts))
        self._rounds = Counter({suspect: n for suspect, n in self._rounds.items() if suspect in suspects})
        for suspect in self._stalls.look(suspects):
            topic, number = suspect.tp
            if suspect.why == NOT_IN_RETRY and self._is_lost(suspect, partitions[number], read_to_end):
                log.error(
                    "a parked event is lost: its record is gone", topic=topic, partition=number, offset=suspect.offset
                )
                partitions[number].copies.lose(suspect.offset)
                continue
            log.error(
                "an offset stalls; fetching it again",
                topic=topic,
                partition=number,
                offset=suspect.offset,
                why=suspect.why,
            )
            if suspect.why == NOT_IN_RETRY:
                self.read_from_main(partitions[number], (suspect.offset,))
            else:
                self._context.ledger.release(suspect.tp, suspect.offset)
                self._rewind(suspect.tp, suspect.offset)

    def start_at(self, positions: Mapping[TopicPartition, int]) -> None:
        """A generation begins, or a log: have fetching go on at these offsets."""
        self._rewinds.update(positions)

    def fetch_from(self, tp: TopicPartition, offset: int) -> None:
        """Have a partition fetched from ``offset`` on, or from an earlier offset if that was asked for already."""
        self._rewind(tp, offset)

    def read_from_main(self, partition: Partition, offsets: Collection[int]) -> None:
        """Have parked events, whose copies are gone, read from the main topic again."""
        for offset in offsets:
            partition.copies.wanted.add(offset)
        if offsets:
            self._rewind((self._context.pipeline.topic, partition.number), min(offsets))

    def _is_lost(self, suspect: Suspect, partition: Partition, read_to_end: Callable[[TopicPartition], bool]) -> bool:
        """Whether the main topic was read often enough from a parked event's offset on without finding the event.

        A round counts only if a record behind the event came again, or everything was read. While nothing is fetched
        (an outage, no room), nothing can be concluded.
        """
        tp = suspect.tp
        if suspect.offset in partition.copies.wanted:
            read_all = tp not in self._rewinds and self._context.ledger.waiting(tp) is None and read_to_end(tp)
            self._rounds[suspect] += partition.copies.wanted.passed(suspect.offset) or read_all
        return self._rounds[suspect] >= LOST_AFTER_ROUNDS

    def rewinds(self) -> dict[TopicPartition, int]:
        """What is to be fetched again, and from which offset. Each rewind is returned once."""
        rewinds, self._rewinds = self._rewinds, {}
        return rewinds

    def _suspects(self, partition: Partition, read_to_end: Callable[[TopicPartition], bool]) -> Iterator[Suspect]:
        ledger, pipeline = self._context.ledger, self._context.pipeline
        main, retry = (pipeline.topic, partition.number), (pipeline.retry_topic, partition.number)
        for tp, held in ((main, partition.main_offsets()), (retry, partition.copies.retry_offsets())):
            yield from (Suspect(tp, offset, NOT_WORKED_ON) for offset in ledger.claimed(tp) - held)
            # While there is no room, the main topic's agent waits. The retry topic's agent never waits.
            takes = tp == retry or self._context.room.is_free
            if takes and (offset := ledger.waiting(tp)) is not None:
                yield Suspect(tp, offset, NOT_ARRIVED)
        if read_to_end(retry):
            yield from (Suspect(main, offset, NOT_IN_RETRY) for offset in partition.copies.missing())

    def _waiting_alerts(self, topic: str) -> Iterator[Suspect]:
        for tp in self._context.ledger.partitions():
            offset = self._context.ledger.waiting(tp)
            if tp[0] == topic and offset is not None and not self._context.ledger.claimed(tp):
                yield Suspect(tp, offset, NOT_ARRIVED)

    def _rewind(self, tp: TopicPartition, offset: int) -> bool:
        """Have the partition fetched again from ``offset``; False: a rewind to it or further back is pending."""
        if self._rewinds.get(tp, offset + 1) <= offset:
            return False
        self._rewinds[tp] = offset
        return True
