"""Which partitions this worker owns, from the take-over to the drain.

A generation of the consumer group begins with ``shut``: nothing is fetched. Nothing is worked on until ``take_over``
has claimed the record of every owned partition under a new epoch (``take_over.py`` has the steps). Then the gate opens,
exactly once per generation: a second claim would outrank the record that is being written. The generation ends with
``drain``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping

import structlog

from app.delivery.record import TopicPartition
from app.engine.claims import Claims, Position
from app.engine.context import EngineContext
from app.engine.healing import STALL_SECONDS, Healing
from app.engine.holds import OF_PARTITION, holds
from app.engine.partition import Partition
from app.engine.state_records import StateRecords
from app.engine.take_over import Ends, TakenOver, TakeOver, at_the_start
from app.engine.topic_logs import TopicLogs

log = structlog.get_logger(__name__)

# After the drain's deadline its tasks are cancelled. They end at their next await.
CANCEL_SECONDS = 2.0


class Ownership:
    """The partitions of this worker in the current generation.

    Args:
        table: the state table's memory, key and value as in the state topic.
        drain_seconds: how long work under way may take to end when the partitions go away; shorter than the lease.
        stall_seconds: after this long, an offset that nothing works on is reported and fetched again.
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
        self.records = StateRecords(table, context.pipeline.state_topic)
        self.healing = Healing(context, stall_seconds)
        claims = Claims(context)
        self.logs = TopicLogs(context, self, claims, self.healing)
        self._take_over = TakeOver(context, table, self.records, claims)
        self._drain_seconds = drain_seconds
        self._draining = asyncio.Lock()
        self._taken_over: int | None = None  # the generation
        self._taken_over_in: object = None  # the session in which the take-over began, then the one that it opened
        self._open_session: object = None
        self._told_holds: dict[TopicPartition, str] = {}
        self._catching_up: list[Partition] = []

    @property
    def ready(self) -> bool:
        """Whether this generation has taken over (a worker without partitions is ready too)."""
        return self._taken_over is not None and self.session is self._open_session

    def current(self, number: int, generation: int) -> Partition | None:
        """The owned partition that a message of ``generation`` belongs to; None: the message is from another time."""
        partition = self.partitions.get(number)
        if partition is None or partition.draining or partition.generation != generation:
            return None
        return partition

    def holds(self) -> dict[TopicPartition, str]:
        """The owned source partitions that are not fetched now, each with the reason."""
        return holds(self.context, self.gate, self.partitions)

    def fetchable(self, tps: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Which of the source partitions may be fetched now."""
        held = self.holds()
        return {tp for tp in tps if (tp[0], tp[1]) in self.gate and tp not in held}

    def look_back(self, fetched_upto: Callable[[TopicPartition], int]) -> None:
        """After a fetch: partitions that are catching up may have nothing more to wait for.

        Args:
            fetched_upto: the next offset to fetch; every record before it is in the ledger.
        """
        if self._catching_up:
            for partition in self._catching_up:
                partition.look_back(fetched_upto((self.context.pipeline.topic, partition.number)))
            self._catching_up = [partition for partition in self._catching_up if partition.catching_up]

    def look(self, read_to_end: Callable[[TopicPartition], bool]) -> None:
        """Find and heal what has stalled, unless partitions are coming and going.

        Args:
            read_to_end: whether everything that stands in a topic partition has been fetched.
        """
        if self.gate:
            self.healing.look(self.partitions, read_to_end, self.context.pipeline.alerts_topic)
            self._tell_holds()

    def _tell_holds(self) -> None:
        """Log once that a partition waits while others go on, and once that it is read again."""
        held = {tp: reason for tp, reason in self.holds().items() if reason in OF_PARTITION}
        for (topic, number), reason in held.items():
            if self._told_holds.get((topic, number)) != reason:
                log.warning("a partition waits, the others go on", topic=topic, partition=number, reason=reason)
        for topic, number in self._told_holds.keys() - held.keys():
            log.info("a partition is read again", topic=topic, partition=number)
        self._told_holds = held

    def shut(self) -> None:
        """A rebalance or a generation begins: nothing is fetched until the take-over."""
        self.session, self.gate = object(), frozenset()
        self._told_holds = {}
        self._catching_up = []
        self.healing.forget()

    async def take_over(
        self,
        generation: int,
        owned: Iterable[TopicPartition],
        is_current: Callable[[], bool],
        ends: Ends,
        position: Position = at_the_start,
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
        # A static member that was pushed out and came back is assigned its partitions again in the same generation.
        if (generation == self._taken_over and self.session is self._taken_over_in) or not is_current():
            return
        self._taken_over = generation
        session = self._taken_over_in = self.session
        owned = frozenset((tp[0], tp[1]) for tp in owned)
        taken = await self._take_over.claim(generation, owned, is_current, ends, position)
        if taken is not None and session is self.session and is_current():
            self._open(generation, taken, owned)

    def _open(self, generation: int, taken: TakenOver, owned: frozenset[TopicPartition]) -> None:
        context, pipeline = self.context, self.context.pipeline
        topics = (pipeline.topic, pipeline.retry_topic, pipeline.alerts_topic)
        self.partitions = taken.partitions
        self.session = self._open_session = self._taken_over_in = object()
        self.gate = frozenset(tp for tp in owned if tp[0] in topics)
        starts = {tp: offset for tp, offset in taken.starts.items() if tp in self.gate}
        self.healing.start_at(starts)
        for tp, offset in starts.items():
            context.ledger.begin(tp, offset)
        for partition in self.partitions.values():
            partition.start()
        self._catching_up = [partition for partition in self.partitions.values() if partition.catching_up]
        log.info("took over", generation=generation, partitions=sorted(self.partitions), parked=context.room.parked)

    async def drain(self) -> None:
        """Start no new work, give work under way its time to end, then cancel the rest: its outcome is not durable.

        If another drain is under way, for a rebalance, this returns when both are over.
        """
        self.shut()
        async with self._draining:
            await self._drain()

    async def _drain(self) -> None:
        partitions, self.partitions = list(self.partitions.values()), {}
        tasks = [task for partition in partitions for task in partition.stop_taking()]
        for task in self.context.producer.waiting.intersection(tasks):
            task.cancel()  # its topic takes no writes, and will hardly take any before the deadline
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
