"""Parked events of a partition: how they get into the retry topic, and how they run from there.

An event is parked at once, without an await, so that later events of its consumer are parked behind it. Then it is
copied to the retry topic (same partition number), noted in the partition record, and its main offset is closed.

Parked events of a consumer run lowest offset first. An event runs when it is due, its copy was read back, its consumer
has no lane, and every event before it was seen. When no event is left, the consumer is no longer parked.

A dead letter that is redriven runs in the same way. It is readmitted when its consumer has no lane; from the decision
on, later events of the consumer are parked behind it. Its bytes come from the dead-letter topic, not from a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from app.delivery.errors import EVENT_KEY_MISMATCH, EVENT_TOO_LARGE
from app.delivery.failed_attempt import with_attempt
from app.delivery.headers import Failing, cut, retry_headers
from app.delivery.outcome import Failure, InvalidEvent, TryAgain
from app.delivery.parked_events import ParkedEvent, kept_event_id
from app.delivery.readmitted import Readmitted
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.engine.attempts import Attempts
from app.engine.catching_up import CatchingUp
from app.engine.context import EngineContext, now_ms
from app.engine.copies import Copies, Copy
from app.engine.flow import Work
from app.engine.journal import Journal
from app.engine.parked import Job, ParkedConsumer, ParkedConsumers
from app.engine.partition_tasks import PartitionTasks
from app.engine.record_room import RecordRoom
from app.engine.settling import Settling
from app.kafka.durable_producer import TooLarge, Write


class Parking:
    """Parks events of one partition, and runs them when they are due.

    Args:
        has_lane: whether a consumer has a lane: everything in it is older than what is parked.
    """

    def __init__(
        self,
        context: EngineContext,
        tasks: PartitionTasks,
        journal: Journal,
        *,
        consumers: ParkedConsumers,
        copies: Copies,
        catching_up: CatchingUp,
        attempts: Attempts,
        settling: Settling,
        record_room: RecordRoom,
        has_lane: Callable[[str], bool],
    ) -> None:
        self._context = context
        self._tasks = tasks
        self._journal = journal
        self._consumers = consumers
        self._copies = copies
        self._catching_up = catching_up
        self._attempts = attempts
        self._settling = settling
        self._record_room = record_room
        self._has_lane = has_lane
        self._admitting: dict[int, Readmitted] = {}  # dead letters that are not durably readmitted yet

    def restore(self) -> None:
        """Go on with the events that the partition record lists as parked. Their copies come from the retry topic."""
        parked = self._journal.state.parked
        failing = {entry.consumer for entry in parked.values() if entry.attempts}
        for offset, entry in parked.items():
            self._add(offset, entry, failing=entry.consumer in failing)
        for offset, again in self._journal.state.readmitted.items():
            if again.parks:
                self._add(offset, again.event, failing=False)

    def redrive(self, offset: int, entry: Readmitted, source: SourceRecord | None) -> None:
        """Run a dead letter again as soon as its consumer has no lane. There is no await in here.

        Args:
            source: the record that became a dead letter; None: its bytes are gone.
        """
        self._admitting[offset] = entry
        self._record_room.readmit(offset, entry)
        self._add(offset, entry.event, failing=False)
        self._copies.put(offset, entry.event.consumer, source)

    def run_alone(self, consumer: str, job: Job) -> None:
        """Do something for a consumer when its lane has ended. Later events of it wait behind that."""
        if (new := self._consumers.hold(consumer, job)) is not None:
            self._tasks.spawn(self._run(consumer, new))

    @property
    def admitting(self) -> Mapping[int, Readmitted]:
        """Dead letters that will be readmitted: main offset -> entry."""
        return self._admitting

    def can_go_on(self) -> bool:
        """Whether the next event of some parked consumer is in memory, so that parked events will be settled."""
        waiting = (parked.lowest for parked in self._consumers if parked.offsets)
        return any(offset in self._copies and self._may_run(offset) for offset in waiting)

    def park(self, work: Work, failure: Failure | None = None, *, failing: bool = True) -> None:
        """Park an event. There is no await in here, so later events of its consumer are parked behind it.

        Args:
            failure: of the event's first attempt, if it was tried.
            failing: False: nothing failed; the consumer has more events than its share, or is parked already.
        """
        now = now_ms()
        entry = ParkedEvent(work.consumer, day=work.record.counted_day)
        if failure is not None:
            entry = self._failed(entry, work, failure, 1, now)
        self._add(work.record.offset, entry, failing=failing)
        self._copies.forwarding[work.record.offset] = work.consumer
        self._tasks.spawn(self._forward(work, entry, failure.message if failure else ""))

    def _add(self, offset: int, entry: ParkedEvent, *, failing: bool) -> None:
        if (new := self._consumers.add(offset, entry, failing=failing)) is not None:
            self._tasks.spawn(self._run(entry.consumer, new))

    def _failed(self, entry: ParkedEvent, work: Work, failure: Failure, attempt: int, now: int) -> ParkedEvent:
        return replace(
            entry,
            event_id=kept_event_id(work.event_id),
            attempts=attempt,
            due_ms=self._context.due_ms(attempt, failure.retry_after),
            first_failed_ms=entry.first_failed_ms or now,
            last_failed_ms=now,
            reason=failure.code,
            tries=with_attempt(entry.tries, now, failure.code),
        )

    async def _forward(self, work: Work, entry: ParkedEvent, message: str) -> None:
        record, topic = work.record, self._context.pipeline.retry_topic
        failing = Failing(
            work.event_id,
            entry.attempts,
            entry.due_ms,
            entry.first_failed_ms,
            entry.last_failed_ms,
            entry.reason,
            message,
        )
        headers = retry_headers(record, failing, self._copies.mark)
        try:
            await self._context.producer.write_one(Write(topic, record.partition, record.key, record.value, headers))
        except TooLarge:
            if (wait := entry.due_ms - now_ms()) > 0:  # a write of the attempt may still land
                await self._tasks.pause(wait / 1000)
            await self._refuse(work, f"the event does not fit into {topic}: run `topics check`")
            self._copies.discard(record.offset)  # it may have been read back from the main topic meanwhile
            self._consumers.remove(work.consumer, record.offset)
        else:
            await self._journal.park(record.offset, entry, record)
        self._copies.forwarding.pop(record.offset, None)
        self._settling.close_main(record.offset)
        self._consumers.wake(work.consumer)

    async def _refuse(self, work: Work, message: str) -> None:
        result = self._context.flow.gave_up(work, EVENT_TOO_LARGE, message, 1)
        if (verdict := await self._settling.settle_or_give_up(work.record, result, now_ms())) is not None:
            await self._settling.bury(work.record, verdict)

    def _may_run(self, offset: int) -> bool:
        """Whether every event before a parked one was seen in this generation, or is decided."""
        return offset <= self._journal.state.upto or self._catching_up.may_run(offset)

    async def _run(self, consumer: str, parked: ParkedConsumer) -> None:
        while (parked.offsets or parked.jobs) and not self._tasks.draining:
            parked.wake.clear()
            if parked.jobs:
                if self._has_lane(consumer):
                    await parked.wake.wait()
                else:
                    await parked.jobs.popleft()()
                continue
            offset = parked.lowest
            if (again := self._admitting.get(offset)) is not None and not self._has_lane(consumer):
                await self._journal.readmit(offset, again)  # staged before anything can happen
                del self._admitting[offset]
                self._record_room.readmit(offset, again)
            entry, copy = self._entry(offset), self._copies.get(offset)
            if entry is None or copy is None or self._has_lane(consumer) or not self._may_run(offset):
                await parked.wake.wait()
                continue
            if (wait := parked.wait_seconds(offset, entry, now_ms(), time.monotonic())) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(parked.wake.wait(), wait)
                continue
            source = copy.source.counted_on(entry.day)
            run = (
                (self._run_gone if offset in self._journal.state.readmitted else self._run_lost) if copy.lost else None
            )
            if await (run or self._run_copy)(offset, entry, source):
                self._copies.close(offset)  # where the copy stands may have changed meanwhile
                self._consumers.remove(consumer, offset)
        if not parked.offsets and not parked.jobs:
            self._consumers.unpark(consumer)

    def _runner(self, offset: int, copy: Copy) -> Callable[[int, ParkedEvent, SourceRecord], Awaitable[bool]]:
        if not copy.lost:
            return self._run_copy
        return self._run_gone if offset in self._journal.state.readmitted else self._run_lost

    def _entry(self, offset: int) -> ParkedEvent | None:
        """What is durably known of an event that waits to run."""
        state = self._journal.state
        if (parked := state.parked.get(offset)) is not None:
            return parked
        again = state.readmitted.get(offset)
        return None if again is None else again.event

    async def _run_gone(self, offset: int, entry: ParkedEvent, source: SourceRecord) -> bool:
        if (verdict := self._journal.state.verdicts.get(offset)) is not None:
            await self._settling.bury(source, verdict, omit_value=True)
        else:
            await self._tasks.until_lease()
            await self._settling.say_value_gone(offset)
        return True

    async def _run_copy(self, offset: int, entry: ParkedEvent, source: SourceRecord) -> bool:
        """One attempt of a parked event, or its burial. True: it has its outcome."""
        verdict = self._journal.state.verdicts.get(offset)
        if verdict is None:
            try:
                work = self._context.flow.read(source)
            except InvalidEvent as problem:  # the catalog changed since it was parked
                verdict = await self._give_up_invalid(source, problem, entry)
            else:
                if work.consumer != entry.consumer:
                    if offset in self._journal.state.readmitted:
                        verdict = await self._give_up_invalid(source, another_consumer(source), entry)
                        await self._settling.bury(source, verdict)
                        return True
                    self._copies.put_back(offset)
                    return False
                again = self._journal.state.readmitted.get(offset)
                work = replace(work, forced=again is not None and again.force)
                attempt = entry.attempts + 1
                result = await self._attempts.run(work, attempt, entry.first_failed_ms)
                assert result is not None  # only events in lanes step aside
                now = now_ms()
                if isinstance(result.decision, TryAgain):
                    failed = self._failed(entry, work, result.decision.failure, attempt, now)
                    await self._journal.note_attempt(offset, failed)
                    self._consumers.fails(entry.consumer)
                    return False
                first = entry.first_failed_ms or now
                verdict = await self._settling.settle_or_give_up(source, result, first, entry.tries)
        if verdict is not None:
            await self._settling.bury(source, verdict)
        return True

    async def _give_up_invalid(self, source: SourceRecord, problem: InvalidEvent, entry: ParkedEvent) -> Verdict:
        now = now_ms()
        settlement = self._context.flow.invalid(source, problem)
        verdict = Verdict(
            settlement,
            cut(problem.message),
            entry.first_failed_ms or now,
            now,
            alert=False,
            attempts=with_attempt(entry.tries, now, problem.entry.code),
            fingerprint=self._context.flow.fingerprint(settlement),
        )
        await self._settling.give_up(source.offset, verdict)
        return verdict

    async def _run_lost(self, offset: int, entry: ParkedEvent, source: SourceRecord) -> bool:
        verdict = self._journal.state.verdicts.get(offset)
        if verdict is None:
            found = await self._journal.consumers.find(entry.consumer)
            state = None if found is None else found[1]
            await self._tasks.until_lease()
            result = self._context.flow.lost(source, entry.consumer, entry.event_id, state, entry.attempts)
            verdict = await self._settling.settle_or_give_up(source, result, entry.first_failed_ms or now_ms())
        if verdict is not None:
            await self._settling.bury(source, verdict, omit_value=True)
        return True


def another_consumer(source: SourceRecord) -> InvalidEvent:
    """A dead letter that was edited so that it is about another consumer."""
    return InvalidEvent(
        EVENT_KEY_MISMATCH, "the event is about another consumer than the dead letter", event_id=source.id
    )
