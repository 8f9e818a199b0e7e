"""Removes what nobody needs any more: closed dead letters, their edits, and tasks that have ended.

An open dead letter is never removed. A closed one is kept for at least 30 days (``DLQ_KEEP_DAYS``): its tombstone lets
a record of a former owner show through, if such a record arrives that late.
"""

from __future__ import annotations

import asyncio

import structlog

from app.delivery.record import DAY_MS
from app.engine.context import EngineContext, now_ms
from app.engine.partition_tasks import PartitionTasks
from app.kafka.durable_producer import Write

log = structlog.get_logger(__name__)

# Between two looks for what can be removed, and how much is removed in one go.
LOOK_SECONDS = 3600.0
AT_ONCE = 500
# Until the index has applied the tombstones of one go.
AGAIN_SECONDS = 5.0


class Forgetting:
    """Removes dead letters of one partition; the owner of partition 0 also removes tasks."""

    def __init__(self, number: int, context: EngineContext, tasks: PartitionTasks) -> None:
        self._number = number
        self._context = context
        self._tasks = tasks
        self._next = float("-inf")

    async def step(self) -> None:
        """Remove what is due, if it is time to look.

        Raises:
            StatesUnavailable: the index is being built.
        """
        clock = asyncio.get_running_loop().time
        if clock() < self._next:
            return
        before_ms = now_ms() - self._context.dlq_keep_days * DAY_MS
        letters = await self._forget_letters(before_ms)
        tasks = await self._forget_tasks(before_ms) if self._number == 0 else 0
        self._next = clock() + (AGAIN_SECONDS if max(letters, tasks) == AT_ONCE else LOOK_SECONDS)
        if letters or tasks:
            log.info(
                "removed dead letters and tasks that were closed long ago",
                partition=self._number,
                dead_letters=letters,
                tasks=tasks,
            )

    async def _forget_letters(self, before_ms: int) -> int:
        pipeline, edits = self._context.pipeline, self._context.operator_tasks.edit_keys
        found = self._context.letters.forgettable(self._number, before_ms, AT_ONCE)
        await self._remove(pipeline.tasks_topic, 0, [key for letter, _ in found for key in edits(letter)])
        await self._remove(pipeline.letters_topic, self._number, [key for _, keys in found for key in keys])
        return len(found)

    async def _forget_tasks(self, before_ms: int) -> int:
        found = self._context.operator_tasks.forgettable(before_ms)[:AT_ONCE]
        await self._remove(self._context.pipeline.tasks_topic, 0, [key for keys in found for key in keys])
        return len(found)

    async def _remove(self, topic: str, partition: int, keys: list[bytes]) -> None:
        if keys:
            await self._tasks.until_lease()
            await self._context.producer.write(Write(topic, partition, key, None) for key in keys)
