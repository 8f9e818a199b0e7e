"""What a partition record must say before its partition is claimed, and where the work goes on.

A partition record names the topic that its offsets belong to (``app/delivery/pipeline_identity.py``). It is compared
with the topics at every claim, and then every minute. The worker stops when

* the record is about another topic: new events would be skipped as settled;
* the topic holds another record at a settled offset;
* the topic has another number of partitions than the settings say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from app.delivery.dry_run import refusal as dry_run_refusal
from app.delivery.partition_record import PartitionState, new_mark
from app.delivery.pipeline_identity import NEW_GROUP, PipelineIdentity, Role, compare, other_record, refusal
from app.delivery.record import TopicPartition
from app.delivery.record_digest import RecordDigest
from app.delivery.resume import resume, undecided
from app.engine.context import EngineContext, EngineStopped
from app.engine.flow import SeenTopics, TopicsUnknown
from app.observe.reminder import Reminder

log = structlog.get_logger(__name__)

# Between two attempts to ask the brokers about the topics.
AGAIN_SECONDS = 1.0
# How long a partition of the same topic may end below a settled offset: after a leader died, its successor may report a
# lower end for a while (KIP-207).
END_SECONDS = 30.0
# How long to wait for the group's offsets. With a partition record they are needed for the log only.
POSITION_SECONDS = 1.0
POSITION_POLL_SECONDS = 0.02

# The next offset of a topic partition, according to the group's offsets; -1: not known yet.
Position = Callable[[TopicPartition], int]


@dataclass(slots=True)
class Claim:
    """What will be claimed: the partition record as it will be written, and where fetching goes on.

    ``wanted``: parked events that are read from the main topic again, because their copies are gone.
    """

    state: PartitionState
    starts: dict[TopicPartition, int] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison that found no reason to stop.

    ``over``: partition -> its digests that need no further comparison: their records are in the topic, or gone.
    ``same``: partition -> those of them whose records are in the topic.
    """

    seen: SeenTopics
    over: Mapping[int, set[RecordDigest]]
    same: Mapping[int, set[RecordDigest]]

    def holds(self, number: int, offset: int) -> bool:
        """Whether ``offset`` lies between the begin and the end of a partition of the main topic, the end included."""
        begins, ends = self.seen.begins, self.seen.ends
        return number in begins and number in ends and begins[number] <= offset <= ends[number]


class Claims:
    """Compares partition records with the topics, and prepares claims."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._state_id = ""
        self._reminder = Reminder()
        self._begins: dict[int, int] = {}  # events missing below these offsets have been reported

    async def look(self, is_current: Callable[[], bool]) -> SeenTopics | None:
        """What the brokers say about the topics; None: the generation is over."""
        while is_current():
            try:
                seen = await self._context.topics.look()
            except TopicsUnknown as error:
                if self._reminder.due():
                    log.warning(
                        "cannot compare the topics with the state yet, trying again every second", reason=str(error)
                    )
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._reminder.over()
            self._state_id = seen.state_id or self._state_id
            return seen
        return None

    async def same_records(
        self, states: Mapping[int, PartitionState | None], seen: SeenTopics, is_current: Callable[[], bool]
    ) -> None:
        """Check that the main topic holds the records that these states settled last. Asks until the brokers answer or
        the generation is over. Unpins the digests whose records are there, or are gone.

        Raises:
            EngineStopped: the topic holds other records.
        """
        running = self._running(seen)
        same = {
            number: state
            for number, state in states.items()
            # A state of another topic is refused later, with a reason of its own.
            if state is not None and compare(state.identity, running).difference is None
        }
        noted = {number: state.to_compare() for number, state in same.items()}
        while is_current():
            try:
                compared = await self._compare_records(noted, seen)
            except TopicsUnknown as error:
                if self._reminder.due():
                    log.warning("cannot read settled events again yet, trying every second", reason=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._reminder.over()
            for number, state in same.items():
                state.pinned = tuple(one for one in state.pinned if one not in compared.over[number])
            return

    async def _compare_records(self, noted: Mapping[int, Sequence[RecordDigest]], seen: SeenTopics) -> Compared:
        pipeline = self._context.pipeline
        same: dict[int, set[RecordDigest]] = {number: set() for number in noted}
        over = {
            number: {one for one in those if one.offset < seen.begins.get(number, 0)} for number, those in noted.items()
        }
        wanted = {
            number: {one.offset for one in those if one not in over[number] and one.offset < seen.ends.get(number, 0)}
            for number, those in noted.items()
        }
        wanted = {number: offsets for number, offsets in wanted.items() if offsets}
        found = await self._context.topics.record_digests(wanted) if wanted else {}
        for number, records in found.items():
            for one in sorted(noted[number], key=lambda one: one.offset):
                if one.offset in records:
                    if records[one.offset] not in (None, one):
                        raise EngineStopped(other_record(pipeline.topic, number, one.offset, pipeline.group))
                    over[number].add(one)
                    if records[one.offset] == one:
                        same[number].add(one)
        return Compared(seen, over, same)

    async def positions(
        self,
        position: Position,
        tps: Iterable[TopicPartition],
        needed: Iterable[TopicPartition],
        still: Callable[[], bool],
    ) -> dict[TopicPartition, int]:
        """The next offset of each partition, according to the group's offsets, where known.

        Args:
            needed: the partitions to wait for as long as the generation lasts; for the others, a second.
            still: whether the generation lasts.
        """
        wanted, needed = list(tps), set(needed)
        waited = 0.0
        while True:
            known = {tp: offset for tp in wanted if (offset := position(tp)) >= 0}
            late = set(wanted) - known.keys()
            if not late or (waited >= POSITION_SECONDS and not late & needed) or not still():
                return known
            await asyncio.sleep(POSITION_POLL_SECONDS)
            waited += POSITION_POLL_SECONDS

    async def prepare(
        self,
        number: int,
        state: PartitionState | None,
        seen: SeenTopics,
        end: int,
        positions: Mapping[TopicPartition, int],
    ) -> Claim:
        """The claim of one partition.

        Args:
            state: its newest partition record; None: there is none.
            end: where the partition of the main topic ends.
            positions: the next offsets according to the group's offsets, where known.

        Raises:
            EngineStopped: the record is not about this topic; or only one of record and worker is a dry run.
        """
        pipeline = self._context.pipeline
        main, retry, alerts = (
            (topic, number) for topic in (pipeline.topic, pipeline.retry_topic, pipeline.alerts_topic)
        )
        group = positions.get(main)
        begin = self._begins[number] = seen.begins.get(number, 0)
        running = self._running(seen)
        dry_run = self._context.sync.dry_run
        if state is None:
            # This record is written before anything is read, so that a later owner begins at the same offset.
            return Claim(PartitionState((group or 0) - 1, identity=running, dry_run=dry_run, mark=new_mark()))
        comparison = compare(state.identity, running)
        if comparison.difference is not None and state.identity is not None:
            raise EngineStopped(refusal(comparison.difference, state.identity, running, pipeline.group))
        if seen.uneven:
            raise EngineStopped("\n".join(seen.uneven))
        if (why_not := dry_run_refusal(state, dry_run=dry_run, group=pipeline.group)) is not None:
            raise EngineStopped(why_not)
        state.dry_run = dry_run
        if state.mark is None and not state.parked:
            state.mark = new_mark()
        if comparison.adopted:
            log.info(
                "the state is bound to this topic from now on", topic=pipeline.topic, partition=number, ids=running.ids
            )
        if state.identity is None and state.upto < 0 and not (state.decided_above or state.parked or state.counts):
            state.upto = (group or 0) - 1  # claimed by an earlier version that decided nothing
        await self._end_reached(number, state, end, same=bool(running.ids) and state.identity is not None)
        state.identity = comparison.identity
        claim = Claim(state)
        if Role.RETRY in comparison.recreated and state.parked:
            claim.wanted = set(state.parked)
            log.warning(
                "the retry topic was recreated: parked events are read from the main topic again",
                topic=pipeline.retry_topic,
                partition=number,
                events=len(claim.wanted),
            )
        self._go_on(number, claim, group, begin)
        if Role.RETRY in comparison.recreated:
            claim.starts[retry] = 0
            state.retry_from = None
        elif state.parked and state.retry_from is not None and positions.get(retry, 0) > state.retry_from:
            claim.starts[retry] = state.retry_from
        if Role.ALERTS in comparison.recreated:
            claim.starts[alerts] = 0
        return claim

    def _go_on(self, number: int, claim: Claim, group: int | None, begin: int) -> None:
        pipeline, state = self._context.pipeline, claim.state
        go_on = resume(state, group, begin, copies_lost=bool(claim.wanted))
        claim.starts[pipeline.topic, number] = go_on.position
        if go_on.settled:
            log.info(
                "settled already, not done again",
                topic=pipeline.topic,
                partition=number,
                first=go_on.settled[0],
                last=go_on.settled[-1],
            )
        if go_on.skipped:
            log.warning(
                "the group's offset would skip events; going on where the state says",
                topic=pipeline.topic,
                partition=number,
                offset=group,
                going_on_at=go_on.position,
                events=go_on.skipped,
            )
        if go_on.cut_off:
            self._context.observer.cut_off(number, state.upto + 1, begin, go_on.cut_off)
            state.advance(begin - 1)

    async def _end_reached(self, number: int, state: PartitionState, end: int, *, same: bool) -> None:
        """Return when the partition is as long as its record says.

        Raises:
            EngineStopped: it stays shorter.
        """
        pipeline, clock = self._context.pipeline, asyncio.get_running_loop().time
        deadline = clock() + (END_SECONDS if same else 0.0)
        # Decided offsets above ``upto`` count too, because their records are not compared.
        while (highest := state.highest_decided) >= end:
            if clock() >= deadline:
                settled = f"everything up to {highest}" if highest == state.upto else f"offset {highest}"
                raise EngineStopped(
                    f"partition {number} of {pipeline.topic} ends at offset {end}, but {settled} "
                    "counts as settled: new events would be skipped. The topic was recreated, or it lost records: "
                    f"{NEW_GROUP}"
                )
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                end = (await self._context.topics.look()).ends.get(number, end)
            except TopicsUnknown:
                continue

    def _running(self, seen: SeenTopics) -> PipelineIdentity:
        return PipelineIdentity(self._context.pipeline.name, self._context.pipeline.topic, seen.ids)

    async def check(
        self,
        owned: Mapping[int, PartitionState],
        position: Position,
        noted: Mapping[int, Sequence[RecordDigest]] | None = None,
    ) -> Compared:
        """Compare again while the work goes on: with the topics, and with what other workers of the group wrote.

        Args:
            position: the next offset to fetch.
            noted: the digests to compare.

        Raises:
            EngineStopped: the topics or their records are not the same; or another worker of the group reads another
                topic.
            TopicsUnknown: the brokers do not answer.
        """
        pipeline = self._context.pipeline
        seen = await self._context.topics.look()
        running = self._running(seen)
        for state in owned.values():
            comparison = compare(state.identity, running)
            if comparison.difference is not None and state.identity is not None:
                raise EngineStopped(refusal(comparison.difference, state.identity, running, pipeline.group))
            if comparison.recreated:
                names = {Role.RETRY: pipeline.retry_topic, Role.ALERTS: pipeline.alerts_topic}
                topics = ", ".join(sorted(names[role] for role in comparison.recreated))
                raise EngineStopped(f"{topics}: recreated while this worker ran. Nothing is lost; start it again.")
        if self._state_id and seen.state_id and seen.state_id != self._state_id:
            raise EngineStopped(
                f"{pipeline.state_topic}, which holds the state of group {pipeline.group}, was recreated while "
                f"this worker ran. Restore it; or {NEW_GROUP}."
            )
        if seen.uneven:
            raise EngineStopped("\n".join(seen.uneven))
        for recorded in self._context.topics.recorded():
            comparison = compare(recorded, running)
            if recorded is not None and comparison.difference is not None:
                raise EngineStopped(
                    refusal(comparison.difference, recorded, running, pipeline.group)
                    + " Another worker of this group writes such records right now."
                )
        compared = await self._compare_records(noted or {}, seen)
        for number, state in owned.items():
            begin = seen.begins.get(number, 0)
            if 0 <= (at := position((pipeline.topic, number))) < begin:
                self.cut_off(number, state, at, begin)
        return compared

    def cut_off(self, number: int, state: PartitionState, position: int, begin: int) -> None:
        """Report the events that retention has deleted from ``position``, the next offset to fetch, to ``begin``."""
        main = (self._context.pipeline.topic, number)
        first = max(position, self._context.ledger.high(main) + 1, self._begins.get(number, 0))
        if events := undecided(state, first, begin):
            self._begins[number] = begin
            self._context.observer.cut_off(number, first, begin, events)
