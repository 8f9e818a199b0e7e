"""Faust's Kafka consumer, made safe: the ledger counts, the gate holds, ownership decides.

Written against faust-streaming 0.15.3 and aiokafka 0.14.0, both pinned; what is overridden here is internal to them.
Why each override is there:

* ``_getmany``: opens offsets in the ledger before Faust can drop a message; fetches nothing of a generation that has
  not taken over; undoes a fetch that straddles a rebalance; goes back to what was lost on the way; notices when a
  position was not there any more, and begins again where a topic of ours lost its log; and when records come from
  another leader than those before.
* ``_drain_messages``: hands records to the agents one after the other. Faust's own loop drops one when a rebalance
  begins, and starts two tasks for each. Records go straight into the agents' queues: Faust's own way there decodes what
  is raw, and counts who has acknowledged what.
* ``track_message``: nobody waits for acknowledgements that the ledger replaces.
* ``ack``, ``_new_offset``, ``_filter_tps_with_pending_acks``, ``_add_gap``: commit arithmetic. Faust's takes a hole
  next to the committed offset for done, and its lists would only grow beside the ledger.
* ``on_partitions_revoked``: drain, then commit, before Faust forgets what was acknowledged.
* ``leave``, ``on_stop``: a stop amid a rebalance, or without a broker. In Faust the thread waits for the callback of
  the rebalance, and the callback for a commit by the thread; a minute long.
* ``verify_all_partitions_active``: nothing. Faust looks for a standstill here, every 2.5 s; our timeouts have switched
  its findings off (``stream.py``), but it asks for every position, and ends the worker when one is not known at the
  moment: the topic is gone or was made anew, retention has overtaken the work.
* ``_commit``: notes what was asked for, which is what the commit that proves membership may repeat, and what was not
  accepted: Faust would not ask again.
* ``_should_commit``: in Faust offsets only grow. When a topic of ours lost its log, they go back.

What runs in the consumer's own thread is in ``consumer_thread.py``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import Consumer as AiokafkaConsumer
from faust.types import TP

from app.delivery.record import SourceRecord, TopicPartition
from app.delivery.settled_digest import Fingerprint
from app.engine.consumer_thread import NOT_KNOWN_YET, End, HeartbeatThread
from app.engine.ownership import Ownership
from app.engine.rights import ASK_AGAIN_SECONDS

log = structlog.get_logger(__name__)

# With nothing to fetch, look again this soon whether the gate has opened.
IDLE_SECONDS = 0.02

# The consumer's thread does one thing at a time: while a fetch waits for records, a commit, a seek or a take-over waits
# behind it. Faust would let it wait for a second.
POLL_SECONDS = 0.1

# Records handed to the agents before others may run.
DELIVERED_AT_A_TIME = 100

# A stop waits this long for the broker to take the last offsets. It need not: what is settled stands in the durable
# record.
LAST_COMMIT_SECONDS = 3.0

# What an agent gets: a record, the generation in which it was fetched, and from which log of its partition.
Arrival = tuple[SourceRecord, int, int]


class LedgerConsumer(AiokafkaConsumer):  # type: ignore[misc]
    """The consumer of the worker's Faust app.

    Args:
        inboxes: source topic -> the queue that its agent reads.
    """

    def __init__(
        self, *args: Any, ownership: Ownership, inboxes: Mapping[str, asyncio.Queue[Arrival]], **kwargs: Any
    ) -> None:
        self._ownership = ownership
        self._inboxes = inboxes
        self._ledger = ownership.context.ledger
        self._positions: dict[TP, int] = {}  # the next offset to come, in this generation
        self._highest: dict[TP, Any] = {}  # the highest record that came from the main topic in this generation
        self._asked: dict[TP, int] = {}  # the last offsets that were to be committed in this generation
        self._not_accepted: set[TP] = set()  # those of them that were not
        self.turned = time.monotonic()  # when the loop that fetches last came round
        self._rebalancing = asyncio.Lock()
        self._left = False
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> HeartbeatThread:
        thread = HeartbeatThread(self, loop=self.loop, beacon=self.beacon)
        context = self._ownership.context
        thread.lease, thread.rights = context.lease, context.rights
        thread.unreadable = context.unreadable
        thread.request_seconds = context.kafka.request_seconds
        return thread

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109
        session, self.turned = self._ownership.session, time.monotonic()
        active = active_partitions or set()
        changelogs = {tp for tp in active if self._is_changelog_tp(tp)}
        if self._thread.was_reset:
            self._begin_again()
        # Nothing is under way to the agents from here, so no record from before a seek can arrive after it.
        if rewinds := self._ownership.healing.rewinds():
            positions = {TP(topic, number): offset for (topic, number), offset in rewinds.items()}
            await self.seek_wait(positions)
            self._positions.update(positions)
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
            elif batch and (tp not in self._thread.was_reset or await self._may_go_on(tp, batch[0].offset, session)):
                if tp.topic == self._ownership.context.pipeline.topic:
                    self._look_for_another_leader(tp, batch[-1])
                self._ledger.fetched((tp.topic, tp.partition), [r.offset for r in batch], map(_size, batch))
                self._positions[tp] = batch[-1].offset + 1
                kept[tp] = batch
        if session is self._ownership.session:
            # What is fetched stands in the ledger now; while a fetch is under way, the position runs ahead of it.
            self._ownership.look_back(self.fetched_upto)
        return kept

    def _look_for_another_leader(self, tp: TP, last: Any) -> None:
        """Before records are handed over: is one of them from another leader than the one before? ``last``: the last of
        them."""
        before = self._highest.get(tp)
        if before is None or tp in self._thread.other_leader:
            self._thread.other_leader.discard(tp)
            self._ownership.other_leader(tp.partition, None if before is None else _fingerprint(before))
        if before is None or last.offset > before.offset:
            self._highest[tp] = last

    def _begin_again(self) -> None:
        """The retry or the alerts topic did not have the position of a partition, in this generation or before it."""
        for tp, first in list(self._thread.was_reset.items()):
            if (
                tp.topic == self._ownership.context.pipeline.topic
                or (tp.topic, tp.partition) not in self._ownership.gate
            ):
                continue
            position = max(self._positions.get(tp, -1), self._committed_offset.get(tp) or -1)
            if first != NOT_KNOWN_YET:
                del self._thread.was_reset[tp]
                if position not in (-1, first):
                    self._committed_offset.pop(tp, None)
                    self._asked.pop(tp, None)
                    self._ownership.begin_again((tp.topic, tp.partition), position, first)

    async def _may_go_on(self, tp: TP, first: int, session: object) -> bool:
        """Whether the records after a position that was not there are those that come next."""
        position, target = self._positions.get(tp, first), self._thread.was_reset[tp]
        if from_before(first, self._positions.get(tp), target):
            return session is self._ownership.session
        if tp.topic != self._ownership.context.pipeline.topic:
            if target != NOT_KNOWN_YET:
                await self._undo(tp, first)  # the partition begins again with the next fetch
                return False
            return session is self._ownership.session
        self._thread.was_reset.pop(tp, None)
        if first != position:
            highest = self._highest.get(tp)
            last = None if highest is None else _fingerprint(highest)
            if not await self._ownership.was_reset((tp.topic, tp.partition), position, first, last):
                return False
        return session is self._ownership.session

    async def verify_all_partitions_active(self) -> None:
        """Standstills are looked for by ``watch.py``."""

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                records, active = await self._wait_next_records(POLL_SECONDS)
                # Of this generation or none: a fetch that straddled two was undone.
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
                return  # a rebalance: what is left will be fetched again by whoever owns it then
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            read = self._read_offset[tp]
            if read is not None and record.offset < read:
                continue
            if self._is_changelog_tp(tp):
                # The buffer of a recovery may be full, and a rebalance end it.
                await self.wait_first(self.callback(self._to_message(tp, record)), self.suspend_flow.wait())
            else:
                await self._hand_over(record, generation)
            self._read_offset[tp] = record.offset
            delivered += 1
            if delivered % DELIVERED_AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def _hand_over(self, record: Any, generation: int) -> None:
        # What is put there before the flow is resumed would be thrown away when it is.
        await self.app.flow_control.acquire()
        inbox, logs = self._inboxes[record.topic], self._ledger.logs  # nothing is subscribed to before the agents run
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
        """Nothing to do: the ledger knows what is open."""

    async def _undo(self, tp: TP, first: int) -> None:
        """Go back to the first record of a fetch that began before a rebalance and ended after it."""
        try:
            position = await self.position(tp)
            if position is not None and first < position:
                await self._seek(tp, first)
        except (KafkaError, ValueError, RuntimeError) as error:
            # The partition is not ours any more, or the next generation has not been assigned yet: it seeks by itself.
            log.debug("a straddling fetch was dropped", topic=tp.topic, partition=tp.partition, error=repr(error))

    def committed_again(self) -> dict[TP, int]:
        """One assigned partition of the sources and its committed offset, if any is known. From any thread.

        A commit that is under way counts as done: it may have waited for the broker, and what is sent after it with an
        older offset would take it back.
        """
        assigned = self.assignment()
        for tp, offset in list(self._committed_offset.items()):
            if offset is not None and tp in assigned and not self._is_changelog_tp(tp) and not self._is_another_log(tp):
                return {tp: max(offset, self._asked.get(tp, offset))}
        return {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self._asked.update(offsets)
        accepted = bool(await super()._commit(offsets))
        # Faust takes what it has asked for as committed.
        self._not_accepted = self._not_accepted - offsets.keys() if accepted else self._not_accepted | offsets.keys()
        return accepted

    def _should_commit(self, tp: TP, offset: int) -> bool:
        if self._is_another_log(tp):
            return tp in self._not_accepted or offset != self._committed_offset.get(tp)
        return tp in self._not_accepted or bool(super()._should_commit(tp, offset))

    def _is_another_log(self, tp: TP) -> bool:
        """Whether the partition lost its log in this generation: commits of before are higher than those that count."""
        return (tp.topic, tp.partition) in self._ledger.logs

    def fetched_upto(self, tp: TP) -> int:
        """The next offset to fetch; -1: not known yet, or not ours."""
        subscription = self._thread._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        state = assignment.state_value(tp) if assignment is not None else None
        return int(state.position) if state is not None and state.has_valid_position else -1

    def end(self, tp: TP) -> End | None:
        """Where a partition ends, as its broker has said lately."""
        found: End | None = self._thread.end(tp)
        return found

    @property
    def ends(self) -> Mapping[TP, End]:
        """As ``end``, whenever it was said."""
        known: Mapping[TP, End] = self._thread.ends
        return known

    def ack(self, message: Any) -> bool:
        """Faust's way to say that a message is done; agents here close offsets in the ledger themselves."""
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
        """Gaps need no bookkeeping: only received offsets are ever open."""

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A new generation: what was fetched before it will be fetched again."""
        async with self._rebalancing:
            self._forget()
            if self._left:
                return
            self._ownership.shut()
            await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """The partitions go: end what is under way, commit what is safe, forget the rest. In a stop too: after this the
        thread joins the group again, and others get the partitions."""
        async with self._rebalancing:
            await self._ownership.drain()
            if not self.app.should_stop:
                await self._commit_all()
            self._forget()
            if self._left or self.app.should_stop:
                return
            await super().on_partitions_revoked(revoked)
            # Messages that were dropped on the way would let Faust wait for them for ever.
            self._unacked_messages.clear()

    def _forget(self) -> None:
        """What was known of offsets holds for one generation: before the next one others may have gone on."""
        self._ledger.forget()
        self._thread.was_reset.clear()
        self._asked.clear()
        self._positions.clear()
        self._highest.clear()
        self._not_accepted.clear()
        self._committed_offset.clear()

    async def leave(self) -> None:
        """Drain and commit, before a shutdown. A rebalance that is under way comes to its end first; the partitions of
        a later one are not taken."""
        self._left = True
        await self._ownership.drain()
        try:
            async with asyncio.timeout(LAST_COMMIT_SECONDS), self._rebalancing:
                await self._commit_all()
        except TimeoutError:
            log.warning("stopping with offsets that are not committed", reason="the broker does not answer")

    async def on_stop(self) -> None:
        """Nothing to do: ``leave`` has committed. Faust would once more, and wait for a broker that is away."""

    async def _commit_all(self) -> None:
        # A commit that is under way may have begun before the drain ended, and Faust takes it for this one.
        while self._commit_fut is not None:
            await asyncio.wait([self._commit_fut])
        try:
            await self.commit()
        except KafkaError as error:
            # Nothing is lost: the durable record knows what is settled, the next owner only reads it again.
            log.warning("last commit before leaving failed", error=type(error).__name__)

    async def take_over(self, generation: int) -> None:
        """Recovery and seek are done: claim and open the gate. Partitions of a topic that the brokers do not show went
        to nobody; when they show it the group is joined anew."""
        while unseen := self._thread.unseen():
            log.warning("taking nothing over without all topics", topics=unseen)
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            if not self._belongs_to(generation):
                return
        await self._ownership.take_over(
            generation,
            self.assignment(),
            lambda: self._belongs_to(generation),
            self._ends,
            lambda tp: self.fetched_upto(TP(*tp)),
        )
        # The take-over has compared its position with the record. Our own topics are compared with what was committed.
        for tp in [tp for tp in self._thread.was_reset if tp.topic == self._ownership.context.pipeline.topic]:
            del self._thread.was_reset[tp]

    def _belongs_to(self, generation: int) -> bool:
        return not self._left and generation == self.app.consumer_generation_id

    async def _ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        ends = await self.highwaters(*(TP(topic, partition) for topic, partition in tps))
        return {(tp.topic, tp.partition): end for tp, end in ends.items()}


def from_before(first: int, position: int | None, target: int) -> bool:
    """Whether a batch was fetched before its partition's position was reset: the thread fetches ahead.

    Args:
        first: offset of the batch's first record.
        position: the next offset that was to come; None: not known.
        target: where the position was set to.

    >>> from_before(8, position=8, target=11), from_before(11, position=9, target=11)
    (True, False)
    """
    return position is not None and first != target and (first == position or first < target)


def _size(record: Any) -> int:
    return len(record.key or b"") + len(record.value or b"")


def _fingerprint(record: Any) -> Fingerprint:
    return Fingerprint.of(record.offset, record.key, record.value)
