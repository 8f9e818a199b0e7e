"""What the owner of one partition has under way: lanes of the main topic, and parked consumers.

The life of an event here:
 1. ``take``: decoded; invalid ones go to the dead-letter topic at once, beside all lanes.
 2. Its consumer's lane runs it when the event before it is durable. Lanes run side by side.
 3. Settled: counted, durably; then its offset is closed.
 4. Given up: the verdict is durable first, then the dead letter and the alert are sent, then it is settled.
 5. Failed for a reason that may pass: it and everything behind it is *parked* at once, with no await in between.
    So is, without an attempt, what goes to a target that is down while others are up (it would take their room), and
    what needs a right that is missing (``Gates``).
    And so is what comes when its consumer's lane holds the consumer's share of the room already (``Room.share``).
    A parked event is copied to the retry topic (same partition), noted as forwarded, and its main offset closed.
 6. Parked events of a consumer run lowest offset first, each when it is due and its copy was read back, after those in
    its lane. When none is left the consumer is unparked and its next events run from the main topic again.

Invariants: when a consumer has a lane and is parked, everything in the lane is older than what is parked.
A parked event runs only when every event before it has been seen: after a crash, those that the last owner had in the
lane come once more from the main topic, maybe after the copies of younger ones (``catching_up``). A copy in the retry
topic means something only while its offset stands in the durable record (or is being forwarded right now). An offset is
closed only when its outcome is durable. Nothing is sent for an event without a lease.
When the retry topic loses its log, copies in memory stay and run, without an offset there (``NOWHERE``); parked events
that are not in memory are read from the main topic again. Order is that of main offsets, wherever a copy comes from.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, replace

import structlog

from app.delivery.counts import Settlement
from app.delivery.errors import EVENT_TOO_LARGE, SYNC_BUG
from app.delivery.headers import Failing, cut, retry_headers, source_of
from app.delivery.outcome import Failure, InvalidEvent, NotPermitted, Settle, TryAgain
from app.delivery.partition_record import (
    OFFSET_BYTES,
    Forwarded,
    Verdict,
    consumer_bytes,
    dated_bytes,
    kept_event_id,
    verdict_bytes,
)
from app.delivery.record import SourceRecord, day_of
from app.engine.call_permit import CallPermit
from app.engine.context import EngineContext, EngineStopped, now_ms
from app.engine.dead_letters import send_dead_letter
from app.engine.flow import Follows, Result, Work
from app.engine.journal import Journal
from app.engine.parked import ParkedConsumer
from app.engine.partition_tasks import Abandoned, PartitionTasks
from app.engine.wanted import Wanted
from app.kafka.durable_producer import TooLarge, Write
from app.observe.redaction import hash_consumer

log = structlog.get_logger(__name__)

# Between two warnings of a partition about timestamps: a producer with a wrong unit writes none that is right.
WARN_AGAIN_MS = 60_000

# The offset of a copy that was read from the retry topic and is not there any more. Nothing is open at it.
NOWHERE = -1

# What given-up events may take in the durable record while the dead-letter topic takes no writes: a quarter of what the
# record may have. The next one is given up when the dead letter of an earlier one is written.
GIVEN_UP_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Copy:
    """A parked event as read back: from the retry topic (``retry_offset``: where it stands, or ``NOWHERE``), or (None)
    once more from the main topic.

    ``lost``: it is in neither; the source has no value.
    """

    source: SourceRecord
    retry_offset: int | None
    lost: bool = False


class Partition(PartitionTasks):
    """One owned partition in one generation."""

    def __init__(self, number: int, generation: int, context: EngineContext) -> None:
        super().__init__(number, generation, context)
        self._lanes: dict[str, deque[Work]] = {}
        self._parked: dict[str, ParkedConsumer] = {}
        self.beyond_share = 0  # parked events of healthy consumers
        self.parked_bytes = 0  # what parked and given-up events may take in the durable record
        self._given_up: dict[int, int] = {}  # the latter -> bytes of each
        self._given_up_bytes = 0
        self._buried = asyncio.Event()  # rings when one of them is settled
        self._larger: dict[int, int] = {}  # those of them that keep their day -> bytes of each
        self._forwarding: dict[int, str] = {}  # main offset -> consumer
        self._copies: dict[int, _Copy] = {}
        self._rejecting: set[int] = set()
        self.wanted = Wanted()
        self._seen = self._see_first = -1
        self._warn_again = 0
        self.journal: Journal = None  # type: ignore[assignment]  # set by the claim, before anything runs

    def start(self) -> None:
        """Go on with what the durable record says is parked; the copies arrive as the retry topic is read."""
        state = self.journal.state
        self._seen, self._see_first = state.decided_upto, max(state.forwarded, default=-1)
        failing = {entry.consumer for entry in state.forwarded.values() if entry.attempts}
        for offset, entry in state.forwarded.items():
            self._add_parked(offset, entry, failing=entry.consumer in failing)
        for offset, verdict in state.verdicts.items():
            self._count_given_up(offset, verdict_bytes(verdict))

    # ---- what the last owner left

    @property
    def catching_up(self) -> bool:
        """Whether the main topic must be read further before every parked event may run."""
        return self._seen < self._see_first

    def saw(self, offset: int) -> None:
        """Everything in the main topic up to this offset was handed over."""
        if not self.catching_up or offset <= self._seen:
            return
        self._seen = offset
        entry = self.journal.state.forwarded.get(offset)
        if not self.catching_up:
            for parked in self._parked.values():
                parked.wake.set()
        elif entry is not None and (waiting := self._parked.get(entry.consumer)):
            waiting.wake.set()

    def look_back(self, fetched_upto: int) -> None:
        """Nothing comes any more for which parked events wait, though the last of them was not seen: reading began
        behind it, or it was deleted. ``fetched_upto``: the next offset of the main topic to fetch; the ledger knows
        all before it."""
        waits = self._context.ledger.waiting((self._context.pipeline.topic, self.number)) is not None
        if self.catching_up and fetched_upto > self._see_first and not waits:
            self.saw(self._see_first)

    # ---- what it answers for

    def main_offsets(self) -> set[int]:
        """Undecided offsets of the main topic: in a lane, being forwarded or rejected."""
        return {work.record.offset for lane in self._lanes.values() for work in lane} | {
            *self._forwarding,
            *self._rejecting,
        }

    def retry_offsets(self) -> set[int]:
        """Offsets of the retry topic whose events wait here."""
        return {copy.retry_offset for copy in self._copies.values() if copy.retry_offset is not None}

    def missing(self) -> set[int]:
        """Main offsets of parked events that have not been read back."""
        return self.journal.state.forwarded.keys() - self._copies.keys()

    @property
    def copies(self) -> int:
        """Parked events in memory."""
        return len(self._copies)

    def can_go_on(self) -> bool:
        """Whether a parked consumer's next event is in memory, so that some of them will be settled."""
        waiting = (parked.lowest for parked in self._parked.values() if parked.offsets)
        return any(offset in self._copies and self._seen_before(offset) for offset in waiting)

    @property
    def parked_consumers(self) -> int:
        """How many consumers wait."""
        return len(self._parked)

    # ---- from the main topic

    def take(self, record: SourceRecord) -> None:
        """A record of the main topic, claimed and undecided, in offset order."""
        self._context.room.enter()
        if not record.has_possible_time(now := now_ms()):
            record = self._dated(record, now)
        try:
            work = self._context.flow.read(record)
        except InvalidEvent as problem:
            self.spawn(self._reject(record, problem))
            return
        if work.consumer in self._parked:
            self._park(work, failing=False)
        elif lane := self._lanes.get(work.consumer):
            if len(lane) >= self._context.room.share:
                log.info(
                    "a consumer has more events than its share of the room; they wait in the retry topic",
                    consumer=hash_consumer(work.consumer),
                    partition=self.number,
                    offset=work.record.offset,
                )
                self._park(work, failing=False)
            else:
                lane.append(work)
        else:
            self._lanes[work.consumer] = deque((work,))
            self.spawn(self._run_lane(work.consumer))

    def _dated(self, record: SourceRecord, now: int) -> SourceRecord:
        """A record whose timestamp cannot be right counts under the day on which it was taken."""
        if now >= self._warn_again:
            self._warn_again = now + WARN_AGAIN_MS
            log.warning(
                "a Kafka timestamp that cannot be right: the event counts under today; look at the producer's clock",
                partition=self.number,
                offset=record.offset,
                timestamp=record.timestamp_ms,
            )
        return record.counted_on(day_of(now))

    async def _reject(self, record: SourceRecord, problem: InvalidEvent) -> None:
        now = now_ms()
        self._rejecting.add(record.offset)
        settlement = self._context.flow.invalid(record, problem)
        await self._bury(record, Verdict(settlement, problem.message, now, now, alert=False))
        self._rejecting.discard(record.offset)
        self._close_main(record.offset)

    async def _run_lane(self, consumer: str) -> None:
        lane = self._lanes[consumer]
        while lane and not self.draining:
            work = lane[0]
            offset = work.record.offset
            verdict = self.journal.state.verdicts.get(offset)
            if verdict is None:
                result = await self._attempt(work, 1, may_step_aside=True)
                if result is None or isinstance(result.decision, TryAgain):
                    # No await from here until the lane is gone: what follows of this consumer is parked behind it.
                    del self._lanes[consumer]
                    self._park(lane.popleft(), None if result is None else result.decision.failure)
                    while lane:
                        self._park(lane.popleft())
                    return
                verdict = await self._settle_or_give_up(work.record, result, now_ms())
            if verdict is not None:
                await self._bury(work.record, verdict)
            self._close_main(offset)
            lane.popleft()
        if not lane:
            del self._lanes[consumer]
            if parked := self._parked.get(consumer):
                parked.wake.set()

    # ---- parking

    def _add_parked(self, offset: int, entry: Forwarded, *, failing: bool) -> None:
        consumer = entry.consumer
        parked = self._parked.get(consumer)
        if parked is None:
            parked = self._parked[consumer] = ParkedConsumer(failing=failing)
            self.spawn(self._run_parked(consumer, parked))
        elif failing:
            self._fails(parked)
        if not parked.offsets:
            self.parked_bytes += consumer_bytes(consumer)
        parked.add(offset)
        self._count_parked(parked, 1)
        if entry.day:
            self._larger[offset] = dated_bytes(consumer)
        self.parked_bytes += self._larger.get(offset, OFFSET_BYTES)

    def _unpark(self, consumer: str, offset: int) -> None:
        if (parked := self._parked.get(consumer)) and parked.discard(offset):
            parked.wake.set()
            self._count_parked(parked, -1)
            self.parked_bytes -= self._larger.pop(offset, OFFSET_BYTES)
            if not parked.offsets:
                self.parked_bytes -= consumer_bytes(consumer)

    def _fails(self, parked: ParkedConsumer) -> None:
        """From now on the consumer's events count as parked because of a failure."""
        if not parked.failing:
            self._count_parked(parked, -len(parked.offsets))
            parked.failing = True
            self._count_parked(parked, len(parked.offsets))

    def _count_parked(self, parked: ParkedConsumer, events: int) -> None:
        if parked.failing:
            self._context.room.park(events)
        else:
            self.beyond_share += events

    def _park(self, work: Work, failure: Failure | None = None, *, failing: bool = True) -> None:
        """Decided here and now, without an await: what comes later of this consumer is parked behind it.

        Args:
            failing: False: nothing failed; the consumer has more events than its share, or is parked already.
        """
        now = now_ms()
        entry = Forwarded(work.consumer, day=work.record.counted_day)
        if failure is not None:
            entry = replace(
                entry,
                event_id=kept_event_id(work.event_id),
                attempts=1,
                due_ms=self._context.due_ms(1, failure.retry_after),
                first_failed_ms=now,
                last_failed_ms=now,
                reason=failure.code,
            )
        self._add_parked(work.record.offset, entry, failing=failing)
        self._forwarding[work.record.offset] = work.consumer
        self.spawn(self._forward(work, entry, failure.message if failure else ""))

    async def _forward(self, work: Work, entry: Forwarded, message: str) -> None:
        record, pipeline = work.record, self._context.pipeline
        failing = Failing(
            work.event_id,
            entry.attempts,
            entry.due_ms,
            entry.first_failed_ms,
            entry.last_failed_ms,
            entry.reason,
            message,
        )
        headers = retry_headers(record, failing, self._mark)
        copy = Write(pipeline.retry_topic, self.number, record.key, record.value, headers)
        try:
            await self._context.producer.write_one(copy)
        except TooLarge:
            await self._until_nothing_is_late(max(0, entry.due_ms - now_ms()) / 1000)
            await self._refuse(work, f"the event does not fit into {pipeline.retry_topic}: run `topics check`")
            self._copies.pop(record.offset, None)  # read back from the main topic meanwhile
            self._unpark(work.consumer, record.offset)
        else:
            await self.journal.forward(record.offset, entry, record)
        self._forwarding.pop(record.offset, None)
        self._close_main(record.offset)
        if parked := self._parked.get(work.consumer):
            parked.wake.set()

    async def _refuse(self, work: Work, message: str) -> None:
        result = self._context.flow.gave_up(work, EVENT_TOO_LARGE, message, 1)
        if (verdict := await self._settle_or_give_up(work.record, result, now_ms())) is not None:
            await self._bury(work.record, verdict)

    # ---- from the retry topic

    @property
    def _mark(self) -> str | None:
        """What the partition's copies in the retry topic carry."""
        return self.journal.state.mark

    def take_copy(self, copy: SourceRecord, *, gone: bool = False) -> bool:
        """A record of the retry topic. False: it means nothing (a second copy, settled, or not decided by main).

        Args:
            gone: the topic has lost its log since this was fetched.

        Raises:
            NotOurCopy: it is the copy of another event, or none.
        """
        source = source_of(copy, self._context.pipeline.topic, self._mark)
        return self.read_back(source, NOWHERE if gone else copy.offset)

    def copies_gone(self) -> set[int]:
        """The retry topic lost its log. Returns the parked events that are not in memory."""
        for offset, copy in self._copies.items():
            if copy.retry_offset is not None:
                self._copies[offset] = replace(copy, retry_offset=NOWHERE)
        return (self.journal.state.forwarded.keys() | self._forwarding.keys()) - self._copies.keys()

    def read_back(self, source: SourceRecord, retry_offset: int | None) -> bool:
        """A parked event, from the retry topic or once more from the main topic (None); False: as ``take_copy``."""
        offset = source.offset
        entry = self.journal.state.forwarded.get(offset)
        consumer = entry.consumer if entry else self._forwarding.get(offset)
        if consumer is None or offset in self._copies:
            return False
        self._copies[offset] = _Copy(source, retry_offset)
        if parked := self._parked.get(consumer):
            parked.wake.set()
        return True

    def _seen_before(self, offset: int) -> bool:
        """Whether everything in the main topic before a parked event was seen in this generation or is decided."""
        return offset <= self._seen or offset <= self.journal.state.upto or not self.catching_up

    def lose(self, offset: int) -> None:
        """The record of a parked event is gone from both topics: it fails when its turn comes."""
        self.wanted.discard(offset)
        entry = self.journal.state.forwarded.get(offset)
        if entry is None or offset in self._copies:
            return
        key = entry.consumer.encode(errors="replace")
        source = SourceRecord(self._context.pipeline.topic, self.number, offset, now_ms(), key, None)
        self._copies[offset] = _Copy(source, None, lost=True)
        if parked := self._parked.get(entry.consumer):
            parked.wake.set()

    async def _run_parked(self, consumer: str, parked: ParkedConsumer) -> None:
        while parked.offsets and not self.draining:
            offset = parked.lowest
            parked.wake.clear()
            entry, copy = self.journal.state.forwarded.get(offset), self._copies.get(offset)
            if entry is None or copy is None or consumer in self._lanes or not self._seen_before(offset):
                await parked.wake.wait()
                continue
            if (wait := parked.wait_seconds(offset, entry, now_ms(), time.monotonic())) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(parked.wake.wait(), wait)
                continue
            source = copy.source.counted_on(entry.day)
            if await (self._run_lost if copy.lost else self._run_copy)(offset, entry, source):
                copy = self._copies.pop(offset)  # where it stands may have changed meanwhile
                if copy.retry_offset is not None:
                    self._context.ledger.close((self._context.pipeline.retry_topic, self.number), copy.retry_offset)
                self._unpark(consumer, offset)
        if not parked.offsets:
            del self._parked[consumer]

    async def _run_copy(self, offset: int, entry: Forwarded, source: SourceRecord) -> bool:
        """One attempt of a parked event, or its burial. True: it has its outcome."""
        verdict = self.journal.state.verdicts.get(offset)
        if verdict is None:
            try:
                work = self._context.flow.read(source)
            except InvalidEvent as problem:  # the catalog changed since it was parked
                now = now_ms()
                settlement = self._context.flow.invalid(source, problem)
                verdict = Verdict(settlement, cut(problem.message), entry.first_failed_ms or now, now, alert=False)
                await self._give_up(offset, verdict)
            else:
                if work.consumer != entry.consumer:
                    return self._put_back(offset)
                attempt = entry.attempts + 1
                result = await self._attempt(work, attempt, entry.first_failed_ms)
                assert result is not None  # a parked event has nowhere to step aside to
                now = now_ms()
                if isinstance(result.decision, TryAgain):
                    failure = result.decision.failure
                    failed = replace(
                        entry,
                        event_id=kept_event_id(work.event_id),
                        attempts=attempt,
                        due_ms=self._context.due_ms(attempt, failure.retry_after),
                        first_failed_ms=entry.first_failed_ms or now,
                        last_failed_ms=now,
                        reason=failure.code,
                    )
                    await self.journal.tried(offset, failed)
                    if parked := self._parked.get(entry.consumer):
                        self._fails(parked)
                    return False
                verdict = await self._settle_or_give_up(source, result, entry.first_failed_ms or now)
        if verdict is not None:
            await self._bury(source, verdict)
        return True

    def _put_back(self, offset: int) -> bool:
        """What was read back is another consumer's event: not what was parked, whatever its headers say."""
        copy = self._copies.pop(offset)
        log.error(
            "a copy of a parked event is another consumer's event; it is not run",
            partition=self.number,
            offset=offset,
            retry_offset=copy.retry_offset,
        )
        if copy.retry_offset is None:
            self.lose(offset)
        else:
            self._context.ledger.close((self._context.pipeline.retry_topic, self.number), copy.retry_offset)
        return False

    async def _run_lost(self, offset: int, entry: Forwarded, source: SourceRecord) -> bool:
        verdict = self.journal.state.verdicts.get(offset)
        if verdict is None:
            found = await self.journal.consumers.find(entry.consumer)
            state = None if found is None else found[1]
            await self.until_lease()
            result = self._context.flow.lost(source, entry.consumer, entry.event_id, state, entry.attempts)
            verdict = await self._settle_or_give_up(source, result, entry.first_failed_ms or now_ms())
        if verdict is not None:
            await self._bury(source, verdict, omit_value=True)
        return True

    # ---- both ways

    async def _attempt(
        self, work: Work, attempt: int, first_failed_ms: int = 0, *, may_step_aside: bool = False
    ) -> Result | None:
        """Run an event once, while this worker is the owner and there is a free slot.

        None, where it may step aside: it was not run to its end, because its target is down while others are up, or
        because a right is missing that it needs.

        Raises:
            Abandoned: the partition is gone; whether anything was done is unknown.
        """
        context = self._context
        while True:
            if self.draining:
                raise Abandoned
            try:
                found = await self.journal.consumers.find(work.consumer)
                state = None if found is None else found[1]
                target = context.flow.target(work, state)
                breaker = context.breakers[target]
                gate = context.gates.of(target, context.flow.kind(work, state)) if context.gates else None
            except EngineStopped:
                raise
            except Exception as error:  # noqa: BLE001 - logged, and it has an outcome
                await self.until_lease()
                return self._met_a_bug(work, attempt, error)
            if may_step_aside and (gate is not None or context.others_are_up(breaker)):
                await self.until_lease()
                return None
            probe = await self._admitted(breaker, gate)
            context.in_flight += 1
            permit, turns = CallPermit(self, breaker, context.slots, probe=probe), breaker.turns
            result, late_seconds = None, 0.0
            try:
                result = await context.flow.run(
                    work,
                    attempt=attempt,
                    last=attempt >= context.sync.max_attempts,
                    state=state,
                    permit=permit,
                )
            except NotPermitted as stop:
                late_seconds = stop.late_seconds
            except Abandoned:
                raise
            except Exception as error:  # noqa: BLE001 - logged, and it has an outcome
                result = self._met_a_bug(work, attempt, error)
            finally:
                context.in_flight -= 1
                permit.end()
            if result is None:
                await self._until_nothing_is_late(late_seconds)
                continue
            if self.dead or not context.lease.holds(self.generation):
                await self.until_lease()  # the answer counts only if nobody else can have taken over meanwhile
            if result.blocked:
                context.gates.shut(target, context.flow.kind(work, state))
                context.flow.failed(work, result, attempt, Follows.WAITS_FOR_RIGHT, state)
                await self._until_nothing_is_late(result.late_seconds)
                if may_step_aside:
                    return None
                continue
            if gate is not None and not result.may_be_an_outage:
                context.gates.reopen(target, context.flow.kind(work, state))
            outage = False
            if result.may_be_an_outage:
                first = first_failed_ms if attempt >= context.sync.max_attempts else None
                outage = await self._look_for_an_outage(breaker, turns, work.consumer, result, first)
            if result.failures:
                follows = Follows.WAITS_FOR_TARGET if outage else Follows.DECISION
                context.flow.failed(work, result, attempt, follows, state)
            if outage or isinstance(result.decision, Settle):
                await self._until_nothing_is_late(result.late_seconds)
            if not outage:
                return result
            # That was the outage, not the event: no attempt is used up.

    def _met_a_bug(self, work: Work, attempt: int, error: Exception) -> Result:
        record = work.record
        log.error(
            "bug while working on an event",
            event_id=work.event_id,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            exc_info=error,
        )
        return self._context.flow.gave_up(work, SYNC_BUG, type(error).__name__, attempt)

    async def _settle_or_give_up(self, record: SourceRecord, result: Result, first_failed_ms: int) -> Verdict | None:
        """Settle durably, or make the verdict durable and return it."""
        decision, settlement = result.decision, result.settlement
        if isinstance(decision, TryAgain) or settlement is None:
            raise TypeError(f"a flow settled event {record.id} without saying how it counts")
        if not decision.dead_letter:
            await self._finish(record, settlement, dead_letter=False)
            return None
        message = cut(decision.failure.message) if decision.failure else ""
        verdict = Verdict(settlement, message, first_failed_ms, now_ms(), decision.alert)
        await self._give_up(record.offset, verdict)
        return verdict

    async def _give_up(self, offset: int, verdict: Verdict) -> None:
        """Make a verdict durable, when the record has room for it. A drain ends the wait: the next owner decides."""
        size = verdict_bytes(verdict)
        while self._given_up and self._given_up_bytes + size > GIVEN_UP_BYTES:
            with self.not_started():
                self._buried.clear()
                await self._buried.wait()
                await self.until_lease()
        self._count_given_up(offset, size)
        await self.journal.give_up(offset, verdict)

    def _count_given_up(self, offset: int, size: int) -> None:
        self._given_up[offset] = size
        self._given_up_bytes += size
        self.parked_bytes += size

    async def _bury(self, record: SourceRecord, verdict: Verdict, *, omit_value: bool = False) -> None:
        """Send the dead letter and the alert of a durable verdict, then settle. Repeated as a whole after a crash."""
        context = self._context
        dlq, group = context.pipeline.dlq_topic, context.pipeline.group
        await send_dead_letter(context.producer, record, verdict, dlq, group, omit_value=omit_value)
        if verdict.alert:
            key, value = context.flow.alert(record, verdict)
            await context.producer.write_one(Write(context.pipeline.alerts_topic, None, key, value))
        await self._finish(record, verdict.settlement, dead_letter=True)
        size = self._given_up.pop(record.offset, 0)  # an invalid event has no durable verdict
        self._given_up_bytes -= size
        self.parked_bytes -= size
        self._buried.set()

    async def _finish(self, record: SourceRecord, settlement: Settlement, *, dead_letter: bool) -> None:
        await self.journal.finish(record.offset, settlement, dead_letter=dead_letter, record=record)
        self._context.observer.settled(settlement, record)

    def _close_main(self, offset: int) -> None:
        self._context.ledger.close((self._context.pipeline.topic, self.number), offset)
        self._context.room.leave()

    def stop_taking(self) -> list[asyncio.Task[None]]:
        """Start no new work. Returns the tasks under way."""
        under_way = super().stop_taking()
        for parked in self._parked.values():
            parked.wake.set()
        return under_way
