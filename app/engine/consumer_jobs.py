"""Tasks about consumers: repairing what the target holds, and distrusting the list of rows.

A job runs in its consumer's place: when its lane has ended, and with its later events waiting. So it never races with
an event. A consumer with parked events is left alone: one of them may have been written in part.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import structlog

from app.delivery.consumer_record import ConsumerState
from app.delivery.dead_letter_record import Holder, ValuePlace
from app.delivery.operator_task import Action, OperatorTask, TaskEnd, TaskKey
from app.delivery.outcome import NotPermitted
from app.delivery.record import SourceRecord
from app.engine.admission import admitted
from app.engine.context import EngineContext, now_ms
from app.engine.journal import Journal
from app.engine.letter_sources import ValuesUnavailable
from app.engine.parked import ParkedConsumers
from app.engine.parking import Parking
from app.engine.partition_tasks import Abandoned, PartitionTasks
from app.engine.task_pace import TaskPace
from app.kafka.durable_producer import Write
from app.observe.redaction import hash_consumer

log = structlog.get_logger(__name__)

# Consumers of a partition that are worked on at a time.
AT_ONCE = 8
# Between two tries to read a record while the brokers do not answer.
AGAIN_SECONDS = 1.0

PENDING = "pending"  # events of the consumer are parked
FAILED = "error"
DISTRUSTED = "distrusted"
# After these, the consumer's rows are as its last event wants them.
MENDED = frozenset({"ok", "repaired"})


class ConsumerJobs:
    """The consumers of one partition that tasks are about."""

    def __init__(
        self,
        number: int,
        context: EngineContext,
        tasks: PartitionTasks,
        journal: Journal,
        *,
        parking: Parking,
        parked: ParkedConsumers,
        pace: TaskPace,
    ) -> None:
        self._number = number
        self._context = context
        self._tasks = tasks
        self._journal = journal
        self._parking = parking
        self._parked = parked
        self._pace = pace
        self._left: dict[str, list[str]] = {}
        self._under_way: Counter[str] = Counter()
        self._done: dict[str, Counter[str]] = {}

    async def advance(self, task: OperatorTask) -> bool:
        """Begin with more consumers of a task. Returns whether the task has ended on this partition."""
        left = self._left.setdefault(task.id, list(reversed(task.consumers.get(self._number, ()))))
        done = self._done.setdefault(task.id, Counter())
        room = min(AT_ONCE - self._under_way.total(), self._pace.allowed(task, asyncio.get_running_loop().time()))
        begun = 0
        while left and begun < room:
            consumer = left.pop()
            self._under_way[task.id] += 1
            self._parking.run_alone(consumer, partial(self._run, task, consumer, done))
            begun += 1
        self._pace.took(task, begun)
        if left or self._under_way[task.id]:
            return False
        await self._tasks.until_lease()
        key = TaskKey(task.id, "end", self._number).encode()
        await self._context.producer.write_one(
            Write(self._context.pipeline.tasks_topic, 0, key, TaskEnd(now_ms(), done).encode())
        )
        log.info("a task has ended on a partition", task=task.id, partition=self._number, **done)
        return True

    async def _run(self, task: OperatorTask, consumer: str, done: Counter[str]) -> None:
        try:
            outcome = await self._outcome(task, consumer)
        except Abandoned:
            raise
        except Exception as error:
            log.error("bug while working on a consumer", consumer=hash_consumer(consumer), task=task.id, exc_info=error)
            outcome = FAILED
        done[outcome] += 1
        self._under_way[task.id] -= 1

    async def _outcome(self, task: OperatorTask, consumer: str) -> str:
        if self._parked.has_events(consumer):
            return PENDING
        if task.action is Action.DISTRUST:
            await self._journal.distrust(consumer)
            return DISTRUSTED
        flow, context = self._context.flow, self._context
        while True:
            found = await self._journal.consumers.find(consumer)
            state = None if found is None else found[1]
            record = await self._record_of(state)
            async with admitted(context, self._tasks, context.breakers[flow.home(state)]) as permit:
                try:
                    outcome = await flow.mend(consumer, self._number, state, record, permit)
                except NotPermitted:  # the target went down, or the lease is in doubt: again
                    continue
            await permit.until_nothing_lands_late()
            if outcome in MENDED:
                await self._journal.mended(consumer, now_ms())
            return outcome

    async def _record_of(self, state: ConsumerState | None) -> SourceRecord | None:
        """The record of the consumer's last full state, if the main topic still has it."""
        if state is None or state.full is None:
            return None
        offset = state.full.offset
        while True:
            with self._tasks.not_started():
                try:
                    found = await self._context.letter_values.read(
                        self._number, {offset: ValuePlace(Holder.MAIN, offset)}
                    )
                except ValuesUnavailable:
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                await self._tasks.until_lease()
            return found.get(offset)
