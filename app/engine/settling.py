"""How an event gets its outcome, durably: it is settled at once, or given up and buried in the dead-letter topic.

For an event that is given up, the *verdict* is made durable first. Then the dead letter and the alert are sent, and
then the event is settled. A crash in between repeats the dead letter, never the decision.
"""

from __future__ import annotations

import asyncio

from app.delivery.counts import Settlement
from app.delivery.headers import cut
from app.delivery.outcome import TryAgain
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.engine.context import EngineContext, now_ms
from app.engine.dead_letters import send_dead_letter
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

    async def settle_or_give_up(self, record: SourceRecord, result: Result, first_failed_ms: int) -> Verdict | None:
        """Settle an event durably, or make its verdict durable and return it: then the event is to be buried."""
        decision, settlement = result.decision, result.settlement
        if isinstance(decision, TryAgain) or settlement is None:
            raise TypeError(f"a flow settled event {record.id} without saying how it counts")
        if not decision.dead_letter:
            await self._finish(record, settlement, dead_letter=False)
            return None
        message = cut(decision.failure.message) if decision.failure else ""
        verdict = Verdict(settlement, message, first_failed_ms, now_ms(), decision.alert)
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
        context, pipeline = self._context, self._context.pipeline
        await send_dead_letter(
            context.producer, record, verdict, pipeline.dlq_topic, pipeline.group, omit_value=omit_value
        )
        if verdict.alert:
            key, value = context.flow.alert(record, verdict)
            await context.producer.write_one(Write(pipeline.alerts_topic, None, key, value))
        await self._finish(record, verdict.settlement, dead_letter=True)
        self._room.settle(record.offset)
        self._buried.set()

    async def _finish(self, record: SourceRecord, settlement: Settlement, *, dead_letter: bool) -> None:
        await self._journal.settle(record.offset, settlement, dead_letter=dead_letter, record=record)
        self._context.observer.settled(settlement, record)

    def close_main(self, offset: int) -> None:
        """Close an offset of the main topic: its event is settled, or stands in the retry topic."""
        self._context.ledger.close(self._main, offset)
        self._context.room.leave()
