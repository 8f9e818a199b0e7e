"""Records of the main topic that some other tool took out of our dead-letter topic and published again.

Such a record is no new event. If it fits an open dead letter, it is a redrive of that event: its bytes go to the
dead-letter topic as an edit, and a task asks for the redrive. If it fits none, it becomes a foreign dead letter. Either
way its own offset is settled without being counted, after all of that is acknowledged. A crash repeats it: the task has
the same ID, and handles the dead letter once.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from app.delivery.dead_letter_record import LetterStatus
from app.delivery.foreign_letter import fits
from app.delivery.headers import FOREIGN, PUBLISHED_BY, VALUE_OMITTED, cut, edited_headers
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import BY_BYTES, Action, EditKey, Note, OperatorTask, Selection, TaskKey
from app.delivery.record import SourceRecord
from app.engine.context import EngineContext, now_ms
from app.engine.flow import StatesUnavailable
from app.engine.journal import Journal
from app.engine.letter_sources import KnownLetter
from app.engine.partition_tasks import PartitionTasks
from app.kafka.durable_producer import TooLarge, Write

log = structlog.get_logger(__name__)

# A tool may publish a dead letter before the index knows it.
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.25
# Records that wait for dead letters of other partitions at a time; more are only listed.
MOST_WAITING = 20
# A tool in a loop must not redrive for ever: a dead letter that was handled so often is only listed.
MOST_TIMES = 50

# Who did it, if a record does not say so.
BY = "published again"


class Republished:
    """What becomes of republished dead letters in one partition of the main topic."""

    def __init__(self, context: EngineContext, tasks: PartitionTasks, journal: Journal) -> None:
        self._context = context
        self._tasks = tasks
        self._journal = journal
        self._waiting = 0

    async def settle(self, record: SourceRecord, claimed: LetterId | None) -> None:
        """Make a redrive or a foreign dead letter of a record, then settle it without counting it.

        Args:
            claimed: the dead letter that its headers name; None: they name none.
        """
        with self._tasks.not_started():
            known = None if claimed is None else await self._find(claimed, record)
            await self._tasks.until_lease()
        told = {"partition": record.partition, "offset": record.offset, "dead_letter": str(claimed)}
        if claimed is None or known is None or known.record.redrives >= MOST_TIMES:
            await self._list(record)
            log.warning("a published dead letter is not one of ours, or was redriven too often; it is listed", **told)
        elif known.record.status is not LetterStatus.OPEN:
            log.info("a dead letter was published again after it was settled; nothing is done", **told)
        else:
            await self._redrive(record, claimed)
            log.info("a dead letter was published again; it is redriven", **told)
        await self._journal.pass_over(record.offset)

    async def _find(self, claimed: LetterId, record: SourceRecord) -> KnownLetter | None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        self._waiting += 1
        try:
            while True:
                try:
                    known = self._journal.letters.get(claimed)
                except StatesUnavailable:
                    await self._context.letters.available(claimed.partition)
                    continue
                if known is not None:
                    return known if fits(record, known.record, self._context.pipeline.group) else None
                if time.monotonic() >= deadline or not self._may_come(claimed, record):
                    return None
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._waiting -= 1

    def _may_come(self, claimed: LetterId, record: SourceRecord) -> bool:
        """Whether a dead letter may become known that is not yet. Each one that waits takes the room of an event."""
        if claimed.partition != record.partition:  # its owner may just be writing it
            return self._waiting <= MOST_WAITING
        state, offset = self._journal.state, claimed.offset
        if offset >= record.offset:
            return False
        return not state.decided(offset) or offset in state.parked or offset in state.verdicts

    async def _redrive(self, record: SourceRecord, claimed: LetterId) -> None:
        """Bytes first, then the edit that names them, then the task.

        If the record has no value, the event runs as it was: a null value would delete the profile.
        """
        pipeline, producer = self._context.pipeline, self._context.producer
        partition, offset = claimed.partition, claimed.offset
        edits: list[bytes] = []
        if record.value is not None:
            event = SourceRecord(
                pipeline.topic, partition, offset, record.timestamp_ms, record.key, record.value, record.headers
            )
            write = Write(pipeline.dlq_topic, partition, record.key, record.value, edited_headers(event))
            try:
                edits.append(EditKey(claimed, max(await producer.write_one(write), 0)).encode())
            except TooLarge:
                log.warning(
                    "a dead letter that was published again does not fit into the dead-letter topic; the event runs as "
                    "it was before",
                    dead_letter=str(claimed),
                    bytes=record.size,
                )
        now = now_ms()
        person = cut(record.header(PUBLISHED_BY) or "", BY_BYTES)
        by = person or BY
        note = f"{'with publish' if person else 'by another program'}, at {record.id} of the main topic"
        task = OperatorTask(
            id=f"m-{record.id}",
            action=Action.REDRIVE,
            selection=Selection((claimed,)),
            created_ms=now,
            by=by,
            note=note,
            matched={partition: 1},
        )
        wishes = [(edit, Note(by, now, note).encode()) for edit in edits]
        wishes.append((TaskKey(task.id).encode(), task.encode()))
        await producer.write(Write(pipeline.tasks_topic, 0, key, value) for key, value in wishes)

    async def _list(self, record: SourceRecord) -> None:
        """Put a record into the dead-letter topic as it is, marked as foreign; without its value and its headers if it
        does not fit."""
        topic, mark = self._context.pipeline.dlq_topic, (FOREIGN, record.id.encode())
        omitted = (mark, (VALUE_OMITTED, b"true"))
        whole = Write(topic, record.partition, record.key, record.value, (*record.headers, mark))
        for write in (whole, Write(topic, record.partition, record.key, None, omitted)):
            try:
                await self._context.producer.write_one(write)
            except TooLarge:
                continue
            return
        await self._context.producer.write_when_it_fits(Write(topic, record.partition, None, None, omitted))
