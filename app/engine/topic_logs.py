"""Whether the topics still hold the logs that the partition records are about.

A topic may be recreated, or lose records under the same ID. Then other records stand at the same offsets. In the main
topic new events would be skipped as settled, so the worker stops. When the retry topic loses records, parked events are
read from the main topic again; when the alerts topic does, the log says so.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from app.delivery.pipeline_identity import NEW_GROUP
from app.delivery.record import TopicPartition
from app.delivery.record_digest import RecordDigest
from app.engine.claims import Claims, Compared, Position
from app.engine.context import EngineContext, EngineStopped
from app.engine.flow import TopicsUnknown
from app.engine.healing import Healing
from app.engine.partition import Partition
from app.engine.take_over import at_the_start
from app.observe.reminder import Reminder

log = structlog.get_logger(__name__)


class Owned(Protocol):
    """What is owned now. ``session``: another object after each step of a rebalance."""

    partitions: dict[int, Partition]
    session: object


class TopicLogs:
    """Compares the topics with the records of the owned partitions.

    ``comparison_due``: records that are read now may stand in another log than those before them.
    """

    def __init__(self, context: EngineContext, owned: Owned, claims: Claims, healing: Healing) -> None:
        self.comparison_due = asyncio.Event()
        self._context = context
        self._owned = owned
        self._claims = claims
        self._healing = healing
        self._untrue_resets = Reminder()

    async def check(self, position: Position = at_the_start) -> None:
        """Compare the topics with the partition records; called once a minute or so.

        Args:
            position: the next offset to fetch.

        Raises:
            EngineStopped: the records are about others.
            TopicsUnknown: the brokers do not answer.
        """
        await self._compare(position)

    async def _compare(self, position: Position = at_the_start) -> Compared:
        owned = {number: partition.journal.state for number, partition in self._owned.partitions.items()}
        journals = {number: partition.journal for number, partition in self._owned.partitions.items()}
        pinned = {number: journal.pinned.times for number, journal in journals.items()}
        self.comparison_due.clear()
        noted = {number: journal.to_compare() for number, journal in journals.items()}
        compared = await self._claims.check(owned, position, noted)
        for number, journal in journals.items():
            # The topic may have been read before the records that were pinned meanwhile.
            if journal.pinned.times == pinned[number]:
                journal.pinned.drop(compared.over[number])
        return compared

    def other_leader(self, number: int, last: RecordDigest | None) -> None:
        """The next records of a partition of the main topic may stand in another log: they are the first ones, or
        another leader wrote them than those before. Called before they are handed over.

        Args:
            last: the highest record that was handed over before; None: none was.
        """
        if (partition := self._owned.partitions.get(number)) is not None:
            partition.journal.pin(last)
            if partition.journal.pinned.all:
                self.comparison_due.set()

    @property
    def pinned(self) -> bool:
        """Whether records are pinned."""
        return any(partition.journal.pinned.all for partition in self._owned.partitions.values())

    async def was_reset(self, tp: TopicPartition, position: int, first: int, last: RecordDigest | None = None) -> bool:
        """A fetch at ``position`` was out of range, and fetching went on at ``first``. Returns whether the records from
        there on are those to be read next. If not, the worker stops, or reading goes on at ``position`` after all.

        Args:
            last: the highest record of the partition that was handed over; None: none was.
        """
        number, session = tp[1], self._owned.session
        partition = self._owned.partitions.get(number)
        if partition is None or tp[0] != self._context.pipeline.topic:
            return True
        if first >= position:
            self._claims.cut_off(number, partition.journal.state, position, first)
            return True
        try:
            if not await self._is_unchanged(partition, position, last):
                raise EngineStopped(
                    f"partition {number} of {tp[0]} lost records that had been read: offset {position}, where the work "
                    f"was to go on, is not there. New events would be skipped as settled: {NEW_GROUP}"
                )
        except EngineStopped as error:
            self._context.crash(error)
            return False
        if session is self._owned.session:
            self._healing.fetch_from(tp, position)
            if self._untrue_resets.due():
                log.warning(
                    "a broker said that an offset is out of range, and it is not; going on there",
                    topic=tp[0],
                    partition=number,
                    offset=position,
                )
        return False

    async def _is_unchanged(self, partition: Partition, position: int, last: RecordDigest | None) -> bool:
        """Whether the main topic holds ``position`` and the highest record that is known. A log is cut in one place, so
        it then holds everything below that record too.

        Raises:
            EngineStopped: it holds another record there, or the topics are others.
        """
        journal, number = partition.journal, partition.number
        journal.pin(last)
        known = [*journal.to_compare(), *(() if last is None else (last,))]
        try:
            compared = await self._compare()
        except TopicsUnknown:
            return False
        highest = max(known, key=lambda one: one.offset, default=None)
        return highest in compared.same.get(number, ()) and compared.holds(number, position)

    def begin_again(self, tp: TopicPartition, position: int, first: int) -> None:
        """The retry or the alerts topic does not hold ``position``, where reading was to go on: it lost its log, or
        retention deleted what was not read. Reading goes on at ``first``, and commits begin again there."""
        topic, number = tp
        self._context.ledger.begin_again(tp, first)
        self._healing.start_at({tp: first})
        lost = f"its log ended before offset {position}" if first < position else f"offsets {position}-{first - 1}"
        told = {"topic": topic, "partition": number, "lost": lost, "going_on_at": first}
        partition = self._owned.partitions.get(number)
        if topic != self._context.pipeline.retry_topic or partition is None:
            log.error("the alerts topic lost records: alerts that were not read have no incident", **told)
            return
        gone = partition.copies.all_gone()
        self._healing.read_from_main(partition, gone)
        log.error(
            "the retry topic lost records: parked events that are not in memory are read from the main topic",
            **told,
            events=len(gone),
        )
