"""How an event gets its outcome, durably: it is settled at once, or given up and buried in the dead-letter topic.

For an event that is given up, the *verdict* is made durable first. Then the dead letter and the alert are sent, then
the dead-letter record says that it is open, and then the event is settled. A crash in between repeats the dead letter,
never the decision.

A readmitted event is settled in the same way. Its dead-letter record is closed, or open again with one more line in its
history.
"""

from __future__ import annotations

import asyncio

from app.delivery.counts import Settlement
from app.delivery.dead_letter_changes import closed, opened, value_gone
from app.delivery.dead_letter_record import DeadLetter, Holder, ValuePlace
from app.delivery.failed_attempt import FailedAttempt, with_attempt
from app.delivery.headers import cut
from app.delivery.letter_id import LetterId
from app.delivery.outcome import TryAgain
from app.delivery.readmitted import Readmitted
from app.delivery.record import SourceRecord, is_text
from app.delivery.verdict import Verdict
from app.engine.context import EngineContext, now_ms
from app.engine.dead_letters import Burial, send_dead_letter
from app.engine.flow import Result
from app.engine.journal import Journal
from app.engine.partition_tasks import PartitionTasks
from app.engine.record_room import RecordRoom
from app.kafka.durable_producer import Write


class Settling:
    """Gives the events of one partition their outcome."""

    def __init__(
        self, number: int, context: EngineContext, tasks: PartitionTasks, journal: Journal, room: RecordRoom
    ) -> None:
        self._main = (context.pipeline.topic, number)
        self._context = context
        self._tasks = tasks
        self._journal = journal
        self._room = room
        self._buried = asyncio.Event()  # set when an event that was given up is settled
        for offset, verdict in journal.state.verdicts.items():
            room.give_up(offset, verdict)
        for offset, entry in journal.state.readmitted.items():
            room.readmit(offset, entry)

    async def settle_or_give_up(
        self, record: SourceRecord, result: Result, first_failed_ms: int, tries: tuple[FailedAttempt, ...] = ()
    ) -> Verdict | None:
        """Settle an event durably, or make its verdict durable and return it: then the event is to be buried.

        Args:
            tries: the failed attempts before this one.
        """
        decision, settlement = result.decision, result.settlement
        if isinstance(decision, TryAgain) or settlement is None:
            raise TypeError(f"a flow settled event {record.id} without saying how it counts")
        if not decision.dead_letter:
            await self._finish(record, settlement)
            return None
        failure, now = decision.failure, now_ms()
        verdict = Verdict(
            settlement,
            cut(failure.message) if failure else "",
            first_failed_ms,
            now,
            decision.alert,
            failure.request_id if failure else "",
            with_attempt(tries, now, settlement.reason or ""),
            self._context.flow.fingerprint(settlement),
        )
        await self.give_up(record.offset, verdict)
        return verdict

    async def give_up(self, offset: int, verdict: Verdict) -> None:
        """Make a verdict durable as soon as the record has room for it.

        A drain ends the wait, and the next owner decides again.
        """
        while not self._room.fits(verdict):
            with self._tasks.not_started():
                self._buried.clear()
                await self._buried.wait()
                await self._tasks.until_lease()
        self._room.give_up(offset, verdict)
        await self._journal.give_up(offset, verdict)

    async def bury(self, record: SourceRecord, verdict: Verdict, *, omit_value: bool = False) -> None:
        """Send the dead letter and the alert of a verdict, then settle. A crash has all of it repeated."""
        context, pipeline, offset = self._context, self._context.pipeline, record.offset
        again = self._journal.state.readmitted.get(offset)
        written_at = await send_dead_letter(
            context.producer,
            record,
            verdict,
            pipeline.dlq_topic,
            pipeline.group,
            burial=Burial(again.number if again else 0, again.task if again else "", self._journal.state.mark),
            omit_value=omit_value,
        )
        if verdict.alert:
            key, value = context.flow.alert(record, verdict)
            await context.producer.write_one(Write(pipeline.alerts_topic, None, key, value))
        # The main topic may hold what did not fit; a record that is lost is nowhere.
        elsewhere = None if omit_value else ValuePlace(Holder.MAIN, offset)
        place = elsewhere if written_at is None else ValuePlace(Holder.DLQ, written_at)
        letter = opened(
            verdict,
            place,
            size=record.size,
            has_key=is_text(record.key),
            now_ms=now_ms(),
            again=again,
            before=await self._known(again, offset),
            note=context.operator_tasks.note(again.task) if again else "",
        )
        await self._finish(record, verdict.settlement, letter=letter)
        self._buried.set()

    async def end(self, record: SourceRecord, settlement: Settlement) -> None:
        """Settle a readmitted event that is discarded or erased."""
        await self._finish(record, settlement)

    async def say_value_gone(self, offset: int) -> None:
        """A readmitted event cannot run, because its bytes are gone. Its dead letter is open again."""
        again = self._journal.state.readmitted[offset]
        note = self._context.operator_tasks.note(again.task)
        letter = value_gone(again, now_ms=now_ms(), before=await self._known(again, offset), note=note)
        await self._journal.settle(offset, again.reverse, dead_letter=True, letter=letter)
        self._room.settle(offset)

    async def _known(self, again: Readmitted | None, offset: int) -> DeadLetter | None:
        if again is None:
            return None
        known = await self._journal.letters.find(LetterId(self._main[1], offset))
        return None if known is None else known.record

    async def _finish(self, record: SourceRecord, settlement: Settlement, *, letter: DeadLetter | None = None) -> None:
        offset = record.offset
        is_open = letter is not None
        if (again := self._journal.state.readmitted.get(offset)) is not None and letter is None:
            note = self._context.operator_tasks.note(again.task)
            letter = closed(settlement, again, now_ms=now_ms(), before=await self._known(again, offset), note=note)
        await self._journal.settle(
            offset, settlement, dead_letter=is_open, record=None if again else record, letter=letter
        )
        self._room.settle(offset)
        if again is None:
            self._context.observer.settled(settlement, record)
        else:
            self._context.observer.handled(settlement, again)

    def close_main(self, offset: int) -> None:
        """Close an offset of the main topic: its event is settled, or stands in the retry topic."""
        self._context.ledger.close(self._main, offset)
        self._context.room.leave()
