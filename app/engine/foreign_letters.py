"""Records of the dead-letter topic that are not ours: they are listed as dead letters too, and handled on demand.

The owner of a partition reads its part of the dead-letter topic once. For a record of another program, it writes a
dead-letter record, and only then notes in the partition record how far it has read. A foreign record has no event in
the main topic and counts nowhere. So it is not readmitted: it is published as a new event, at least once, and then its
record is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from app.delivery.dead_letter_record import DeadLetter, HistoryLine, LetterStatus, with_line, with_task
from app.delivery.errors import SYNC_VALUE_GONE
from app.delivery.foreign_letter import as_new_event, claimed_letter, fits, foreign_letter, origin_of
from app.delivery.headers import FOREIGN, PARKED_BY, lost_its_value
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, OperatorTask
from app.delivery.outcome import Outcome
from app.delivery.record import SourceRecord, is_text
from app.delivery.state_fields import LARGEST
from app.engine.context import EngineContext, now_ms
from app.engine.journal import Journal
from app.engine.letter_sources import KnownLetter
from app.engine.partition_tasks import PartitionTasks
from app.kafka.durable_producer import TooLarge, Write

log = structlog.get_logger(__name__)

# Between two looks at the end of the dead-letter topic.
READ_SECONDS = 5.0

ALONE = "redrive it alone, with --force"
PUBLISHED = "published"  # the outcome in the history of a foreign record that was published as a new event


class ForeignLetters:
    """The foreign records of one partition."""

    def __init__(self, number: int, context: EngineContext, tasks: PartitionTasks, journal: Journal) -> None:
        self._number = number
        self._context = context
        self._tasks = tasks
        self._journal = journal
        self._letters = journal.letters
        self._next = float("-inf")

    async def step(self) -> bool:
        """Read on in the dead-letter topic. Returns whether there may be more at once.

        Raises:
            StatesUnavailable, ValuesUnavailable: not now.
        """
        clock = asyncio.get_running_loop().time
        if clock() < self._next:
            return False
        read = self._journal.state.letters_read
        start = 0 if read is None else read + 1
        with self._tasks.not_started():
            records, end = await self._context.letter_values.read_on(self._number, start)
            await self._tasks.until_lease()
        if end <= start:
            self._next = clock() + READ_SECONDS
            return False
        foreign = {
            LetterId(self._number, record.offset, foreign=True): foreign_letter(record, now_ms())
            for record in records
            if not await self._is_ours(record)
        }
        for letter in foreign:
            self._context.observer.foreign(str(letter))
        if foreign:
            log.warning(
                "records of other programs stand in the dead-letter topic; they are listed as dead letters",
                partition=self._number,
                records=len(foreign),
                first=str(min(foreign)),
            )
        await self._journal.note_letters_read(end - 1, foreign)
        return True

    async def _is_ours(self, record: SourceRecord) -> bool:
        """Whether this group wrote a record, or an operator for it: then its own dead letter is listed already."""
        if record.header(FOREIGN) is not None:  # it was published again, and fits none of ours
            return False
        mark = self._journal.state.mark
        if mark is not None and record.header(PARKED_BY) == mark:
            return True
        claimed = claimed_letter(record, self._context.pipeline.topic)
        if claimed is None or claimed.partition != self._number:
            return False
        if claimed.offset in self._journal.state.verdicts:  # its own record follows
            return True
        known = await self._letters.find(claimed)
        return known is not None and fits(record, known.record, self._context.pipeline.group)

    async def handle(self, known: Sequence[KnownLetter], task: OperatorTask) -> int:
        """Redrive or discard foreign records. Returns how many were handled.

        Raises:
            StatesUnavailable, ValuesUnavailable: not now.
        """
        if task.action is Action.DISCARD:
            await self._write({one.id: _closed(one.record, task, LetterStatus.DISCARDED, "discarded") for one in known})
            return len(known)
        places = {one.id.offset: one.record.place for one in known if one.record.place is not None}
        with self._tasks.not_started():
            values = await self._context.letter_values.read_foreign(self._number, tuple(places))
            await self._tasks.until_lease()
        for one in known:
            await self._write({one.id: await self._published(one, values.get(one.id.offset), task)})
        return len(known)

    async def _published(self, known: KnownLetter, record: SourceRecord | None, task: OperatorTask) -> DeadLetter:
        """Publish a foreign record as a new event. Returns what its own record says then."""
        letter = known.record
        if record is None or lost_its_value(record):
            return replace(_noted(letter, task, "", SYNC_VALUE_GONE.code), place=None)
        if record.key is None or not is_text(record.key):
            return _noted(letter, task, "", "it has no readable key: discard it")
        if not (task.force and task.selection.ids):
            if record.value is None:
                return _noted(letter, task, "", f"a null value deletes the consumer: {ALONE}")
            if await self._was_erased(record.key.decode()):
                return _noted(letter, task, "", f"the consumer's profile was deleted: {ALONE}")
        topic, origin = self._context.pipeline.topic, origin_of(record)
        partition = self._number
        if origin is not None and origin.topic == topic and origin.partition is not None:
            partition = min(origin.partition, self._context.kafka.partitions - 1)
        try:
            write = Write(topic, partition, record.key, record.value, as_new_event(record))
            await self._context.producer.write_one(write)
        except TooLarge:
            return _noted(letter, task, "", "it does not fit into the main topic")
        return _closed(letter, task, LetterStatus.SETTLED, PUBLISHED)

    async def _was_erased(self, consumer: str) -> bool:
        """Whether the consumer's profile was ever deleted. The record has no place among the consumer's events, so it
        may be older than that."""
        found = await self._journal.consumers.find(consumer)
        return (found is not None and found[1].erased >= 0) or self._context.states.erased(consumer)

    async def _write(self, records: dict[LetterId, DeadLetter]) -> None:
        await self._tasks.until_lease()
        await self._letters.write(records)


def _closed(letter: DeadLetter, task: OperatorTask, status: LetterStatus, outcome: str) -> DeadLetter:
    settlement = letter.settlement
    if status is LetterStatus.DISCARDED:
        settlement = replace(settlement, outcome=Outcome.DISCARDED)
    return replace(_noted(letter, task, outcome, ""), status=status, settlement=settlement)


def _noted(letter: DeadLetter, task: OperatorTask, outcome: str, reason: str) -> DeadLetter:
    """A record with one more line of history."""
    now = now_ms()
    line = HistoryLine(now, task.action.value, outcome, reason, task.by, task.id, task.note)
    return replace(
        letter,
        redrives=min(letter.redrives + 1, LARGEST),
        tasks=with_task(letter.tasks, task.id),
        history=with_line(letter.history, line),
        changed_ms=now,
    )
