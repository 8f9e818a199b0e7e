"""How a worker takes partitions over. The order matters: each step relies on the one before.

1. Faust's recovery has read the state table to its end.
2. A heartbeat *sent* after that is acknowledged: no other worker has taken over meanwhile. The partition records are
   about the topics that there are (``claims.py``).
3. The follower has read the consumer records to their end. Where dead-letter records and tasks end is looked up too,
   but not waited for: only redrives need them (``redrive.py``).
4. The partition record is written under a higher epoch, and acknowledged. From then on no write of an earlier owner
   counts, however late it arrives.
5. The gate opens (``ownership.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from app.delivery.closed_days import document_keys
from app.delivery.partition_record import PartitionState
from app.delivery.record import TopicPartition
from app.delivery.record_format import partition_key
from app.engine.claims import Claims, Position
from app.engine.closing_days import Closing
from app.engine.commit_turns import Turn
from app.engine.consumer_records import ConsumerRecords
from app.engine.context import EngineContext, EngineStopped
from app.engine.flow import TopicsUnknown
from app.engine.journal import Journal
from app.engine.ledger import Ledger
from app.engine.letter_records import LetterRecords
from app.engine.letter_sources import TopicEnds
from app.engine.partition import Partition
from app.engine.partition_tasks import PartitionTasks
from app.engine.state_log import StateLog
from app.engine.state_records import StateRecords

# Between two looks for the acknowledged heartbeat.
HEARTBEAT_POLL_SECONDS = 0.02

# When a topic was away for a moment, the group divides its partitions again within this time.
DIVIDED_AGAIN_SECONDS = 60.0

# Looks up the end offsets of topic partitions.
Ends = Callable[[Iterable[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


def at_the_start(_: TopicPartition) -> int:
    """The position in a partition from which nothing was fetched."""
    return 0


@dataclass(frozen=True, slots=True)
class LedgerProgress:
    """How far the owner of a partition has come: see ``OffsetProgress``."""

    ledger: Ledger
    main: TopicPartition
    retry: TopicPartition

    def decided_upto(self, decided: Collection[int]) -> int | None:
        """The highest offset of the main topic with nothing undecided at or below it."""
        return self.ledger.settled_upto(self.main, decided)

    def retry_from(self) -> int | None:
        """Nothing of the retry topic below this offset is still needed."""
        return self.ledger.committable(self.retry)


@dataclass(slots=True)
class TakenOver:
    """Claimed partitions, and where fetching goes on in each topic partition."""

    partitions: dict[int, Partition] = field(default_factory=dict)
    starts: dict[TopicPartition, int] = field(default_factory=dict)


class TakeOver:
    """Claims partitions.

    Args:
        table: the state table's memory, key and value as in the state topic.
        records: the same, by partition.
    """

    def __init__(
        self, context: EngineContext, table: MutableMapping[bytes, bytes], records: StateRecords, claims: Claims
    ) -> None:
        self._context = context
        self._table = table
        self._records = records
        self._claims = claims

    async def claim(
        self,
        generation: int,
        owned: Collection[TopicPartition],
        is_current: Callable[[], bool],
        ends: Ends,
        position: Position,
    ) -> TakenOver | None:
        """Claim the owned partitions; None: the generation is over. See ``Ownership.take_over``."""
        context, pipeline = self._context, self._context.pipeline
        numbers = await self._numbers(owned, is_current)
        if numbers is None or not await self._heartbeat(generation, is_current):
            return None
        seen = await self._claims.look(is_current)
        if seen is None:
            return None
        consumers, source = pipeline.consumers_topic, pipeline.topic
        asked = [(topic, number) for number in numbers for topic in (consumers, source, pipeline.letters_topic)]
        found = await ends([*asked, (pipeline.tasks_topic, 0)])
        self._records.tell_others()
        fresh = [(source, number) for number in numbers if not self._records.of(number)[0]]
        positions = await self._claims.positions(
            position,
            [(topic, number) for number in numbers for topic in (source, pipeline.retry_topic)],
            fresh,
            is_current,
        )
        if not is_current():
            return None
        newest_of = {number: self._records.newest(number) for number in numbers}
        await self._claims.same_records({number: state for number, (_, state) in newest_of.items()}, seen, is_current)
        if not is_current():
            return None
        taken = TakenOver()
        for number in sorted(numbers):
            await context.states.catch_up(number, found[consumers, number])
            records, documents = self._records.of(number)
            newest, state = newest_of[number]
            claim = await self._claims.prepare(number, state, seen, found[source, number], positions)
            # Generations start again at 1 when a group was deleted; an epoch never goes back.
            epoch = max(generation, newest + 1)
            outdated = [partition_key(number, old) for old in records]
            outdated += documents - document_keys(number, claim.state)
            partition = taken.partitions[number] = await self._claim(
                number,
                generation,
                epoch,
                claim.state,
                outdated,
                TopicEnds(found.get((pipeline.letters_topic, number), 0), found.get((pipeline.tasks_topic, 0), 0)),
            )
            for offset in claim.wanted:
                partition.copies.wanted.add(offset)
            taken.starts |= claim.starts
        return taken

    async def _numbers(
        self, owned: Collection[TopicPartition], is_current: Callable[[], bool]
    ) -> frozenset[int] | None:
        """The numbers of the owned partitions; None: the generation is over.

        Raises:
            EngineStopped: they are not the same in each topic.
        """
        pipeline = self._context.pipeline
        names = (pipeline.topic, pipeline.retry_topic, pipeline.state_topic)
        main, retry, kept = (frozenset(number for topic, number in owned if topic == name) for name in names)
        if main == retry == kept:
            return main
        await self._no_other_topic()
        # The member that divides the partitions may not have seen all topics yet. Then it divides them again.
        deadline = time.monotonic() + DIVIDED_AGAIN_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(HEARTBEAT_POLL_SECONDS)
            if not is_current():
                return None
        await self._no_other_topic()
        raise EngineStopped(
            f"partitions of {', '.join(names)} came to different workers; "
            "these topics need the same number of partitions: run `profile-sync topics check`. Or another worker "
            f"of group {pipeline.group} has another KAFKA_TOPIC: then use another KAFKA_GROUP for it"
        )

    async def _no_other_topic(self) -> None:
        """Stop when the group's records are about another topic: its workers share the state topic with this one."""
        with contextlib.suppress(TopicsUnknown):
            await self._claims.check({}, at_the_start)

    async def _heartbeat(self, generation: int, is_current: Callable[[], bool]) -> bool:
        """Wait for the acknowledgement of a heartbeat that is sent from now on. False: the generation is over."""
        lease = self._context.lease
        since = lease.now()
        while not lease.renewed_since(generation, since):
            await asyncio.sleep(HEARTBEAT_POLL_SECONDS)
            if not is_current():
                return False
        return True

    async def _claim(
        self,
        number: int,
        generation: int,
        epoch: int,
        state: PartitionState,
        outdated: Sequence[bytes],
        letter_ends: TopicEnds,
    ) -> Partition:
        """Write the record under its new epoch, then remove what it replaces."""
        context, pipeline = self._context, self._context.pipeline
        tasks = PartitionTasks(generation, context.lease, context.crash)
        state_log = StateLog(number, epoch, context.producer, pipeline.state_topic, self._table)
        consumers = ConsumerRecords(
            number,
            epoch,
            context.states,
            producer=context.producer,
            topic=pipeline.consumers_topic,
            after_settling=context.flow.after_settling,
            until_lease=tasks.until_lease,
        )
        journal = Journal(
            state,
            state_log,
            consumers,
            LetterRecords(
                number,
                epoch,
                context.letters,
                producer=context.producer,
                topic=pipeline.letters_topic,
                until_lease=tasks.until_lease,
                end=letter_ends.letters,
            ),
            until_lease=tasks.until_lease,
            progress=LedgerProgress(context.ledger, (pipeline.topic, number), (pipeline.retry_topic, number)),
            closing=Closing(context.kpi_keep_days, context.archive_seconds, context.today),
            turn=Turn(context.turns),
            spawn=tasks.spawn,
        )
        await journal.claim()
        await state_log.write(dict.fromkeys(outdated))
        return Partition(number, context, tasks, journal, tasks_end=letter_ends.tasks)
