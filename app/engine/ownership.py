"""Taking partitions over, and letting them go.

A generation of the consumer group begins with ``shut`` (nothing is fetched), and nothing is worked on until
``take_over`` has claimed the durable record of every owned partition under a new epoch. It ends with ``drain``.

Order of a take-over, each step proving the one before:
 1. the state table was read to its end (Faust's recovery);
 2. a heartbeat *sent* after that was acknowledged: no other worker took over meanwhile;
    and the record is about the topics that there are (``claims.py``);
 3. the follower of the consumers' records has read its end;
 4. the record is written under a higher epoch, acknowledged: writes of an earlier owner, however late, lose;
 5. the gate opens. Exactly once per generation: a second claim would outrank the record that is being written.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence

import structlog

from app.delivery.closed_days import document_keys
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline_identity import NEW_GROUP
from app.delivery.record import TopicPartition
from app.delivery.record_digest import RecordDigest
from app.delivery.record_format import partition_key
from app.engine.claims import Claims, Compared, Position
from app.engine.commit_turns import Turn
from app.engine.context import EngineContext, EngineStopped, now_ms
from app.engine.flow import TopicsUnknown
from app.engine.healing import STALL_SECONDS, Healing
from app.engine.holds import OF_PARTITION, holds
from app.engine.journal import Closing, ConsumerRecords, Journal
from app.engine.partition import Partition
from app.engine.partition_tasks import PartitionTasks
from app.engine.state_records import StateRecords
from app.kafka.durable_producer import Write
from app.observe.reminder import Reminder

log = structlog.get_logger(__name__)

# Look for the acknowledged heartbeat this often.
HEARTBEAT_POLL_SECONDS = 0.02

# A topic that was away for a moment makes the group divide its partitions again, within this time.
DIVIDED_AGAIN_SECONDS = 60.0

# After the drain's deadline tasks are cancelled; they end at their next await.
CANCEL_SECONDS = 2.0


def _at_the_start(_: TopicPartition) -> int:
    return 0


class Ownership:
    """The partitions of this worker in the current generation.

    Args:
        table: the state table's memory, key and value as in the state topic.
        drain_seconds: how long work under way may take to end when partitions go away; shorter than the lease.
        stall_seconds: after this long an offset that nobody works on is reported and fetched again.
    """

    def __init__(
        self,
        context: EngineContext,
        table: MutableMapping[bytes, bytes],
        drain_seconds: float,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.context = context
        self.partitions: dict[int, Partition] = {}
        self.gate: frozenset[TopicPartition] = frozenset()
        # A new object at every step of a rebalance: a fetch that straddles one is recognised and undone.
        self.session = object()
        self.comparison_due = asyncio.Event()  # records may stand in another log
        self._table = table
        self.records = StateRecords(table, context.pipeline.state_topic)
        self._drain_seconds = drain_seconds
        self._draining = asyncio.Lock()
        self._taken_over: int | None = None
        self._told_holds: dict[TopicPartition, str] = {}
        self._catching_up: list[Partition] = []
        self.healing = Healing(context, stall_seconds)
        self._claims = Claims(context)
        self._untrue_resets = Reminder()
        pipeline = context.pipeline
        self._sources = (pipeline.topic, pipeline.retry_topic)

    @property
    def ready(self) -> bool:
        """Whether this generation has taken over (a worker without partitions is ready too)."""
        return self._taken_over is not None and self.session is self._open_session

    _open_session: object = None
    _taken_over_in: object = None  # the session in which the take-over began, then the one that it opened

    def parked_consumers(self) -> float:
        """Consumers whose events wait in the retry topic."""
        return float(sum(len(partition.parked) for partition in self.partitions.values()))

    def oldest_parked_seconds(self) -> float:
        """Time since the first failure of the longest-parked event."""
        failed = [
            entry.first_failed_ms
            for partition in self.partitions.values()
            for entry in partition.journal.state.parked.values()
            if entry.attempts
        ]
        return max(0.0, (now_ms() - min(failed)) / 1000) if failed else 0.0

    def open_dead_letters(self) -> dict[str, float]:
        """Dead letters that nobody has dealt with, by reason."""
        found: Counter[str] = Counter()
        for partition in self.partitions.values():
            found.update(partition.journal.state.dead_letters)
        return {reason: float(count) for reason, count in found.items()}

    def current(self, number: int, generation: int) -> Partition | None:
        """The owned partition that a message of ``generation`` belongs to; None for messages of another time."""
        partition = self.partitions.get(number)
        if partition is None or partition.draining or partition.generation != generation:
            return None
        return partition

    def holds(self) -> dict[TopicPartition, str]:
        """The source partitions that are owned and not fetched right now, each with the reason."""
        return holds(self.context, self.gate, self.partitions)

    def fetchable(self, tps: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Which of the source partitions may be fetched now."""
        held = self.holds()
        return {tp for tp in tps if (tp[0], tp[1]) in self.gate and tp not in held}

    def look_back(self, fetched_upto: Callable[[TopicPartition], int]) -> None:
        """After a fetch: partitions that catch up may have nothing more to wait for.

        Args:
            fetched_upto: the next offset to fetch; what stands before it is in the ledger, or is nothing.
        """
        if self._catching_up:
            for partition in self._catching_up:
                partition.look_back(fetched_upto((self.context.pipeline.topic, partition.number)))
            self._catching_up = [partition for partition in self._catching_up if partition.catching_up]

    def look(self, read_to_end: Callable[[TopicPartition], bool]) -> None:
        """Find and heal what has stalled; nothing while partitions come and go.

        Args:
            read_to_end: whether everything that stands in a topic partition has been fetched.
        """
        if self.gate:
            self.healing.look(self.partitions, read_to_end, self.context.pipeline.alerts_topic)
            self._tell_holds()

    def _tell_holds(self) -> None:
        """Say once that a partition waits for itself, and once that it goes on."""
        held = {tp: reason for tp, reason in self.holds().items() if reason in OF_PARTITION}
        for (topic, number), reason in held.items():
            if self._told_holds.get((topic, number)) != reason:
                log.warning("a partition waits, the others go on", topic=topic, partition=number, reason=reason)
        for topic, number in self._told_holds.keys() - held.keys():
            log.info("a partition is read again", topic=topic, partition=number)
        self._told_holds = held

    def shut(self) -> None:
        """A rebalance begins or a generation starts: nothing is fetched until the take-over."""
        self.session, self.gate = object(), frozenset()
        self._told_holds = {}
        self._catching_up = []
        self.healing.forget()

    async def take_over(
        self,
        generation: int,
        owned: Iterable[TopicPartition],
        is_current: Callable[[], bool],
        ends: Callable[[Iterable[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]],
        position: Position = _at_the_start,
    ) -> None:
        """Claim the owned partitions, then open the gate.

        Args:
            owned: all assigned topic partitions.
            is_current: whether ``generation`` still is the group's; checked after every wait.
            ends: looks up the end offsets of topic partitions.
            position: where the group would go on in a topic partition.

        Raises:
            EngineStopped: the topics cannot be worked with.
        """
        # A static member that was pushed out and came back is assigned its partitions anew in the same generation.
        if (generation == self._taken_over and self.session is self._taken_over_in) or not is_current():
            return
        self._taken_over = generation
        context, session = self.context, self.session
        self._taken_over_in = session
        owned = frozenset((tp[0], tp[1]) for tp in owned)
        names = (*self._sources, context.pipeline.state_topic)
        main, retry, kept = (frozenset(p for topic, p in owned if topic == name) for name in names)
        if not main == retry == kept:
            await self._no_other_topic()
            # Who divides the partitions may not have seen all topics yet; then it does so again.
            deadline = time.monotonic() + DIVIDED_AGAIN_SECONDS
            while time.monotonic() < deadline:
                await asyncio.sleep(HEARTBEAT_POLL_SECONDS)
                if not is_current():
                    return
            await self._no_other_topic()
            raise EngineStopped(
                f"partitions of {', '.join(names)} came to different workers; "
                "these topics need the same number of partitions: run `profile-sync topics check`. Or another worker "
                f"of group {context.pipeline.group} has another KAFKA_TOPIC: then use another KAFKA_GROUP for it"
            )
        since = context.lease.now()
        while not context.lease.renewed_since(generation, since):
            await asyncio.sleep(HEARTBEAT_POLL_SECONDS)
            if not is_current():
                return
        seen = await self._claims.look(is_current)
        if seen is None:
            return
        consumers, source = context.pipeline.consumers_topic, context.pipeline.topic
        found = await ends([(topic, number) for number in main for topic in (consumers, source)])
        self.records.tell_others()
        fresh = [(source, number) for number in main if not self.records.of(number)[0]]
        positions = await self._claims.positions(
            position, [(topic, number) for number in main for topic in self._sources], fresh, is_current
        )
        if not is_current():
            return
        newest_of = {number: self.records.newest(number) for number in main}
        await self._claims.same_records({number: state for number, (_, state) in newest_of.items()}, seen, is_current)
        if not is_current():
            return
        partitions: dict[int, Partition] = {}
        starts: dict[TopicPartition, int] = {}
        for number in sorted(main):
            await context.states.catch_up(number, found[consumers, number])
            records, documents = self.records.of(number)
            newest, state = newest_of[number]
            claim = await self._claims.prepare(number, state, seen, found[source, number], positions)
            # Generations start again at 1 when a group was deleted; an epoch never goes back.
            epoch = max(generation, newest + 1)
            outdated = [partition_key(number, old) for old in records]
            outdated += documents - document_keys(number, claim.state)
            partitions[number] = await self._claim(number, generation, epoch, claim.state, outdated)
            for offset in claim.wanted:
                partitions[number].copies.wanted.add(offset)
            starts |= claim.starts
        if session is self.session and is_current():
            self.partitions = partitions
            self.session = self._open_session = self._taken_over_in = object()
            self.gate = frozenset(tp for tp in owned if tp[0] in (*self._sources, context.pipeline.alerts_topic))
            starts = {tp: offset for tp, offset in starts.items() if tp in self.gate}
            self.healing.start_at(starts)
            for tp, offset in starts.items():
                context.ledger.begin(tp, offset)
            for partition in partitions.values():
                partition.start()
            self._catching_up = [partition for partition in partitions.values() if partition.catching_up]
            log.info("took over", generation=generation, partitions=sorted(partitions), parked=context.room.parked)

    async def _no_other_topic(self) -> None:
        """Refuse when the records of the group are about another topic: its workers divide the state with us."""
        with contextlib.suppress(TopicsUnknown):
            await self._claims.check({}, _at_the_start)

    async def _claim(
        self, number: int, generation: int, epoch: int, state: PartitionState, outdated: Sequence[bytes]
    ) -> Partition:
        """Write the record under its new epoch, then remove what it replaces."""
        context, pipeline = self.context, self.context.pipeline
        tasks = PartitionTasks(generation, context.lease, context.crash)
        journal = Journal(
            number,
            epoch,
            state,
            producer=context.producer,
            state_topic=pipeline.state_topic,
            consumers_topic=pipeline.consumers_topic,
            consumers=ConsumerRecords(number, epoch, context.states),
            after_settling=context.flow.after_settling,
            decided_upto=lambda done: context.ledger.settled_upto((pipeline.topic, number), done),
            retry_from=lambda: context.ledger.committable((pipeline.retry_topic, number)),
            table=self._table,
            closing=Closing(context.kpi_keep_days, context.archive_seconds, context.today),
            turn=Turn(context.turns),
            spawn=tasks.spawn,
        )
        await journal.claim()
        await context.producer.write([Write(pipeline.state_topic, number, key, None) for key in outdated])
        for key in outdated:
            self._table.pop(key, None)
        return Partition(number, context, tasks, journal)

    async def check(self, position: Position = _at_the_start) -> None:
        """Whether the topics still are those that the records are about; once a minute or so.

        Args:
            position: the next offset to fetch.

        Raises:
            EngineStopped: they are not.
            TopicsUnknown: the brokers do not answer.
        """
        await self._compare(position)

    async def _compare(self, position: Position = _at_the_start) -> Compared:
        owned = {number: partition.journal.state for number, partition in self.partitions.items()}
        journals = {number: partition.journal for number, partition in self.partitions.items()}
        pinned = {number: journal.pinned.times for number, journal in journals.items()}
        self.comparison_due.clear()
        noted = {number: journal.to_compare() for number, journal in journals.items()}
        compared = await self._claims.check(owned, position, noted)
        for number, journal in journals.items():
            # What was pinned meanwhile may have been read in the topic before.
            if journal.pinned.times == pinned[number]:
                journal.pinned.drop(compared.over[number])
        return compared

    def other_leader(self, number: int, last: RecordDigest | None) -> None:
        """The next records of a partition of the main topic are the first ones, or another leader wrote them than those
        before: it may be another log. To be called before they are handed over.

        Args:
            last: the highest record that was handed over before; None: none was.
        """
        if (partition := self.partitions.get(number)) is not None:
            partition.journal.pin(last)
            if partition.journal.pinned.all:
                self.comparison_due.set()

    @property
    def pinned(self) -> bool:
        """Whether records are pinned."""
        return any(partition.journal.pinned.all for partition in self.partitions.values())

    async def was_reset(self, tp: TopicPartition, position: int, first: int, last: RecordDigest | None = None) -> bool:
        """A fetch at ``position`` was out of range and fetching went on at ``first``; False: the records from there on
        are not those that were to be read. Then the worker stops, or reading goes on at ``position`` after all.

        Args:
            last: the highest record of the partition that was handed over; None: none was.
        """
        number, session = tp[1], self.session
        partition = self.partitions.get(number)
        if partition is None or tp[0] != self.context.pipeline.topic:
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
            self.context.crash(error)
            return False
        if session is self.session:
            self.healing.fetch_from(tp, position)
            if self._untrue_resets.due():
                log.warning(
                    "a broker said that an offset is out of range, and it is not; going on there",
                    topic=tp[0],
                    partition=number,
                    offset=position,
                )
        return False

    async def _is_unchanged(self, partition: Partition, position: int, last: RecordDigest | None) -> bool:
        """Whether the main topic holds ``position`` and the highest record that is known. A log is cut at one place, so
        then it holds everything below that record too.

        Raises:
            EngineStopped: it holds another record, or the topics are others.
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
        """The retry or the alerts topic does not have ``position``, where reading was to go on: it lost its log, or
        retention deleted what was not read. Reading goes on at ``first``, and commits begin again there."""
        topic, number = tp
        self.context.ledger.begin_again(tp, first)
        self.healing.start_at({tp: first})
        lost = f"its log ended before offset {position}" if first < position else f"offsets {position}-{first - 1}"
        told = {"topic": topic, "partition": number, "lost": lost, "going_on_at": first}
        partition = self.partitions.get(number)
        if topic != self.context.pipeline.retry_topic or partition is None:
            log.error("the alerts topic lost records: alerts that were not read have no incident", **told)
            return
        gone = partition.copies.all_gone()
        self.healing.read_from_main(partition, gone)
        log.error(
            "the retry topic lost records: parked events that are not in memory are read from the main topic",
            **told,
            events=len(gone),
        )

    async def drain(self) -> None:
        """No new work; what is under way gets its deadline; the rest is cancelled, its outcome not being durable. Also
        returns only then when another drain is under way, for a rebalance."""
        self.shut()
        async with self._draining:
            await self._drain()

    async def _drain(self) -> None:
        partitions, self.partitions = list(self.partitions.values()), {}
        tasks = [task for partition in partitions for task in partition.stop_taking()]
        for task in self.context.producer.waiting.intersection(tasks):
            task.cancel()  # its topic does not take writes, and will hardly do so in this time
        late: set[asyncio.Task[None]] = set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._drain_seconds)
        for partition in partitions:
            partition.abandon()
        for task in late:
            task.cancel()
        if late:
            log.info("work was cut off by a rebalance or stop; it will be done again", tasks=len(late))
            await asyncio.wait(late, timeout=CANCEL_SECONDS)
        self.context.room.clear()
