"""Faust's Kafka consumer, made safe: the ledger counts, the gate holds, ownership decides.

Written against faust-streaming 0.15.3 and aiokafka 0.14.0, both pinned; what is overridden here is internal to them.
What runs in the consumer's own thread is in ``consumer_thread.py``. Why each override is there:

* ``_getmany``: opens offsets in the ledger before Faust can drop a record. Fetches nothing in a generation that has
  not taken over, undoes a fetch that straddles a rebalance, fetches lost records again, and checks that what comes
  continues the same log (``continuity.py``).
* ``_drain_messages``: hands records to the agents one after the other. Faust's own loop drops one when a rebalance
  begins, and starts two tasks for each record. Records go straight into the agents' queues: Faust's own way decodes
  what is raw, and counts acknowledgements.
* ``track_message``: does nothing. The ledger replaces the acknowledgements that Faust would wait for.
* ``ack``, ``_new_offset``, ``_filter_tps_with_pending_acks``, ``_add_gap``: commit arithmetic. Faust's takes a hole
  next to the committed offset for done work, and its lists would only grow beside the ledger.
* ``on_partitions_revoked``: drains, then commits, before Faust forgets what was acknowledged.
* ``leave``, ``on_stop``: a stop amid a rebalance, or without a broker. In Faust the thread waits for the rebalance
  callback, and the callback waits for a commit by the thread, for a minute.
* ``verify_all_partitions_active``: does nothing. Faust looks for a standstill here every 2.5 s. Our timeouts have
  switched its findings off (``faust_app.py``), but it still asks for every position, and ends the worker when one is
  unknown at the moment: the topic is gone or was created again, or retention has overtaken the work.
* ``_commit``: notes what was asked for, because the commit that proves membership may repeat only that; and what was
  not accepted, because Faust would not ask again.
* ``_should_commit``: in Faust, offsets only grow. When the retry or the alerts topic lost its log, they go back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import Consumer as AiokafkaConsumer
from faust.types import TP

from app.delivery.record import SourceRecord, TopicPartition
from app.engine.arrivals import Arrival
from app.engine.consumer_thread import LedgerConsumerThread
from app.engine.continuity import Continuity
from app.engine.ownership import Ownership
from app.engine.partition_ends import PartitionEnds
from app.engine.rights import ASK_AGAIN_SECONDS

log = structlog.get_logger(__name__)

# With nothing to fetch, check again after this time whether the gate has opened.
IDLE_SECONDS = 0.02

# The consumer's thread does one thing at a time: a commit, a seek or a take-over waits until a fetch has returned. In
# Faust a fetch waits for a second.
POLL_SECONDS = 0.1

# Records handed to the agents before other tasks may run.
DELIVERED_AT_A_TIME = 100

# A stop waits this long for the broker to take the last offsets. That is not essential: the partition record says what
# is settled.
LAST_COMMIT_SECONDS = 3.0


class LedgerConsumer(AiokafkaConsumer):  # type: ignore[misc]
    """The consumer of the worker's Faust app.

    Args:
        inboxes: topic -> the queue that its agent reads.
    """

    _thread: LedgerConsumerThread

    def __init__(
        self, *args: Any, ownership: Ownership, inboxes: Mapping[str, asyncio.Queue[Arrival]], **kwargs: Any
    ) -> None:
        self._ownership = ownership
        self._inboxes = inboxes
        self._ledger = ownership.context.ledger
        self._asked: dict[TP, int] = {}  # the last offsets that were to be committed in this generation
        self._not_accepted: set[TP] = set()  # those of them that were not accepted
        self.turned = time.monotonic()  # when the fetch loop last began a round
        self._rebalancing = asyncio.Lock()
        self._left = False
        super().__init__(*args, **kwargs)
        self._continuity = Continuity(ownership, self._thread.was_reset, self._thread.fetching.other_leader, self._undo)

    def _new_consumer_thread(self) -> LedgerConsumerThread:
        return LedgerConsumerThread(self, self._ownership.context, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109
        session, self.turned = self._ownership.session, time.monotonic()
        active = active_partitions or set()
        changelogs = {tp for tp in active if self._is_changelog_tp(tp)}
        if self._continuity.was_reset:
            self._begin_again()
        # The loop that calls this has handed over everything, so no record from before a seek arrives after it.
        if rewinds := self._ownership.healing.rewinds():
            positions = {TP(topic, number): offset for (topic, number), offset in rewinds.items()}
            await self.seek_wait(positions)
            self._continuity.positions.update(positions)
        wanted = changelogs | self._ownership.fetchable(active - changelogs)
        if not wanted:
            await asyncio.sleep(IDLE_SECONDS)
            return {}
        records = await super()._getmany(wanted, min(timeout, POLL_SECONDS))
        kept = {}
        for tp, batch in records.items():
            if self._is_changelog_tp(tp):
                kept[tp] = batch
            elif session is not self._ownership.session:
                await self._undo(tp, batch[0].offset)
            elif batch and (
                tp not in self._continuity.was_reset or await self._continuity.may_go_on(tp, batch[0].offset, session)
            ):
                if tp.topic == self._ownership.context.pipeline.topic:
                    self._continuity.check_leader(tp, batch[-1])
                self._ledger.fetched((tp.topic, tp.partition), [r.offset for r in batch], map(_size, batch))
                self._continuity.positions[tp] = batch[-1].offset + 1
                kept[tp] = batch
        if session is self._ownership.session:
            # Now the ledger has what was fetched. While a fetch is in progress, the position runs ahead of the ledger.
            self._ownership.look_back(self.fetched_upto)
        return kept

    def _begin_again(self) -> None:
        """The retry or the alerts topic lost its log: what was committed before counts no more."""
        for tp, position, first in self._continuity.lost_logs(self._committed_offset):
            self._committed_offset.pop(tp, None)
            self._asked.pop(tp, None)
            self._ownership.logs.begin_again((tp.topic, tp.partition), position, first)

    async def verify_all_partitions_active(self) -> None:
        """Does nothing: ``watch.py`` looks for standstills."""

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                records, active = await self._wait_next_records(POLL_SECONDS)
                # All records are of this generation: a fetch that straddled two was undone.
                generation = self.app.consumer_generation_id
                if self.should_stop:
                    return
                if self.flow_active:
                    await self._deliver(records or {}, active, generation)
                else:
                    await self._seek_back()
                await asyncio.sleep(0)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    async def _deliver(self, records: dict[TP, list[Any]], active: set[TP] | None, generation: int) -> None:
        delivered = 0
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return  # a rebalance: the next owner fetches the rest again
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            read = self._read_offset[tp]
            if read is not None and record.offset < read:
                continue
            if self._is_changelog_tp(tp):
                # The buffer of a recovery may be full, and a rebalance may end the recovery.
                await self.wait_first(self.callback(self._to_message(tp, record)), self.suspend_flow.wait())
            else:
                await self._hand_over(record, generation)
            self._read_offset[tp] = record.offset
            delivered += 1
            if delivered % DELIVERED_AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def _hand_over(self, record: Any, generation: int) -> None:
        # When the flow is resumed, Faust throws away what is in the queues by then.
        await self.app.flow_control.acquire()
        inbox, logs = self._inboxes[record.topic], self._ledger.logs  # the agents run before anything is subscribed
        arrival = (
            SourceRecord(
                record.topic,
                record.partition,
                record.offset,
                record.timestamp or 0,
                record.key,
                record.value,
                tuple(record.headers),
            ),
            generation,
            logs.get((record.topic, record.partition), 0) if logs else 0,
        )
        if inbox.full():
            await inbox.put(arrival)
        else:
            inbox.put_nowait(arrival)

    async def _seek_back(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:  # noqa: BLE001 - the next generation seeks by itself
            log.debug("a seek was cut off by a rebalance", error=repr(error))

    def track_message(self, message: Any) -> None:
        """Does nothing: the ledger knows what is open."""

    async def _undo(self, tp: TP, first: int) -> None:
        """Go back to the first record of a fetch that began before a rebalance and ended after it."""
        try:
            position = await self.position(tp)
            if position is not None and first < position:
                await self._seek(tp, first)
        except (KafkaError, ValueError, RuntimeError) as error:
            # The partition is no longer ours, or the next generation has not been assigned yet and seeks by itself.
            log.debug("a straddling fetch was dropped", topic=tp.topic, partition=tp.partition, error=repr(error))

    def committed_again(self) -> dict[TP, int]:
        """One assigned partition of the sources and its committed offset, if any is known. Called from any thread.

        A commit in progress counts as done: it may have reached the broker, and a commit of an older offset after it
        would undo it.
        """
        assigned = self.assignment()
        for tp, offset in list(self._committed_offset.items()):
            if offset is not None and tp in assigned and not self._is_changelog_tp(tp) and not self._is_another_log(tp):
                return {tp: max(offset, self._asked.get(tp, offset))}
        return {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self._asked.update(offsets)
        accepted = bool(await super()._commit(offsets))
        # Faust counts as committed what it has asked for.
        self._not_accepted = self._not_accepted - offsets.keys() if accepted else self._not_accepted | offsets.keys()
        return accepted

    def _should_commit(self, tp: TP, offset: int) -> bool:
        if self._is_another_log(tp):
            return tp in self._not_accepted or offset != self._committed_offset.get(tp)
        return tp in self._not_accepted or bool(super()._should_commit(tp, offset))

    def _is_another_log(self, tp: TP) -> bool:
        """Whether the partition lost its log in this generation. Then offsets committed before are too high."""
        return (tp.topic, tp.partition) in self._ledger.logs

    def fetched_upto(self, tp: TP) -> int:
        """The next offset to fetch; -1: not known yet, or not assigned."""
        return self._thread.next_offset(tp)

    @property
    def ends(self) -> PartitionEnds:
        """Where the assigned partitions end, as their brokers say."""
        return self._thread.ends

    def ack(self, message: Any) -> bool:
        """Faust's way to say that a message is done; here the agents close offsets in the ledger."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for topic, partition in self._ledger.partitions():
            tp = TP(topic, partition)
            if topics is None or tp in topics or topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        return self._ledger.committable((tp.topic, tp.partition))

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Does nothing: only received offsets are ever open, so gaps need no bookkeeping."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A new generation begins: what was fetched before it will be fetched again."""
        async with self._rebalancing:
            self._forget()
            if self._left:
                return
            self._ownership.shut()
            await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """The partitions go: end the work in progress, commit what is safe, forget the rest.

        During a stop too: after this the thread joins the group again, and other workers get the partitions.
        """
        async with self._rebalancing:
            await self._ownership.drain()
            if not self.app.should_stop:
                await self._commit_all()
            self._forget()
            if self._left or self.app.should_stop:
                return
            await super().on_partitions_revoked(revoked)
            # Faust would wait forever for messages that it dropped on the way.
            self._unacked_messages.clear()

    def _forget(self) -> None:
        """Offsets are known for one generation only: before the next one, other workers may have gone on."""
        self._ledger.forget()
        self._continuity.forget()
        self._asked.clear()
        self._not_accepted.clear()
        self._committed_offset.clear()

    async def leave(self) -> None:
        """Drain and commit before a shutdown. A rebalance in progress ends first; the partitions of a later one are not
        taken."""
        self._left = True
        await self._ownership.drain()
        try:
            async with asyncio.timeout(LAST_COMMIT_SECONDS), self._rebalancing:
                await self._commit_all()
        except TimeoutError:
            log.warning("stopping with offsets that are not committed", reason="the broker does not answer")

    async def on_stop(self) -> None:
        """Does nothing: ``leave`` has committed. Faust would commit again, and wait for a broker that is away."""

    async def _commit_all(self) -> None:
        # Faust would take a commit in progress for this one, though it may have begun before the drain ended.
        while self._commit_fut is not None:
            await asyncio.wait([self._commit_fut])
        try:
            await self.commit()
        except KafkaError as error:
            # Nothing is lost: the partition record says what is settled, and the next owner only reads it again.
            log.warning("last commit before leaving failed", error=type(error).__name__)

    async def take_over(self, generation: int) -> None:
        """Recovery and seek are done: claim the partitions and open the gate.

        While the brokers do not show a topic, its partitions are assigned to no worker. When they show it, the group
        rebalances.
        """
        while unseen := self._thread.unseen():
            log.warning("taking nothing over without all topics", topics=unseen)
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            if not self._belongs_to(generation):
                return
        is_current, position = partial(self._belongs_to, generation), lambda tp: self.fetched_upto(TP(*tp))
        await self._ownership.take_over(generation, self.assignment(), is_current, self._ends, position)
        self._continuity.main_topic_compared()

    def _belongs_to(self, generation: int) -> bool:
        return not self._left and generation == self.app.consumer_generation_id

    async def _ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict(await self.highwaters(*(TP(*tp) for tp in tps)))


def _size(record: Any) -> int:
    return len(record.key or b"") + len(record.value or b"")
