"""Handles the dead letters of one partition: carries out operators' tasks, and erasures.

The life of a dead letter that a task redrives:
 1. A running task selects it: it is open, its event is settled, nothing is done with it, and the task has not handled
    it yet. The lowest offset comes first.
 2. Its bytes are read from the dead-letter topic (or from the main topic, if it has none there).
 3. From here on its consumer is parked. When the consumer has no lane, the event is *readmitted*, durably.
 4. It runs as a parked event does (``parking.py``): with its attempts and back-off, behind the breaker. Whether a later
    state has superseded it is decided when it runs.
 5. It is settled again (``settling.py``): its count moves to the new outcome, and its record is closed or open again.

A discard or an erasure begins and ends with the same two durable changes. Nothing runs, so no consumer is parked.

What is begun is always finished, also when its task was cancelled. A crash at any moment loses nothing and repeats
nothing but an attempt: either the readmitted event stands in the partition record, or the next owner selects the dead
letter again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from app.delivery.dead_letter_record import Holder, ValuePlace
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, OperatorTask, TaskEnd, TaskKey
from app.delivery.outcome import InvalidEvent
from app.delivery.readmitted import Handling
from app.delivery.record import SourceRecord
from app.engine.consumer_jobs import ConsumerJobs
from app.engine.context import EngineContext, now_ms
from app.engine.copies import Copies
from app.engine.erasures import Erasures
from app.engine.flow import StatesUnavailable
from app.engine.foreign_letters import ForeignLetters
from app.engine.forgetting import Forgetting
from app.engine.handled_letters import HandledLetters, entry_of
from app.engine.journal import Journal
from app.engine.letter_sources import KnownLetter, ValuesUnavailable
from app.engine.parked import ParkedConsumers
from app.engine.parking import Parking
from app.engine.partition_tasks import PartitionTasks
from app.engine.record_room import RecordRoom
from app.engine.settling import Settling
from app.engine.task_pace import TaskPace
from app.kafka.durable_producer import Write

log = structlog.get_logger(__name__)

# Between two looks at the tasks, when there is nothing to do.
LOOK_SECONDS = 0.25
# Dead letters that are begun together. Their bytes are read in one go.
PAGE = 50
# Open dead letters that are looked at in one go, for those that belong to a task.
LOOKED_AT = 200
# Bytes of dead letters that may be in memory because they are handled.
MOST_BYTES = 16 * 1024 * 1024

_OF_LETTERS = (Action.REDRIVE, Action.DISCARD)


class Redrive:
    """The dead letters of one partition in one generation.

    Args:
        tasks_end: where the topic of tasks ended when the partition was taken over.
    """

    def __init__(
        self,
        number: int,
        context: EngineContext,
        tasks: PartitionTasks,
        journal: Journal,
        *,
        parking: Parking,
        parked: ParkedConsumers,
        copies: Copies,
        settling: Settling,
        record_room: RecordRoom,
        tasks_end: int = 0,
    ) -> None:
        self._number = number
        self._context = context
        self._tasks = tasks
        self._journal = journal
        self._letters = journal.letters
        self._parking = parking
        self._copies = copies
        self._tasks_end = tasks_end
        self._handled = HandledLetters(
            number, context, tasks, journal, parking=parking, settling=settling, record_room=record_room
        )
        self._erasures = Erasures(journal, self._handled)
        self._foreign = ForeignLetters(number, context, tasks, journal)
        self._forgetting = Forgetting(number, context, tasks)
        self._pace = TaskPace(context.kafka.partitions)
        self._jobs = ConsumerJobs(number, context, tasks, journal, parking=parking, parked=parked, pace=self._pace)
        self._cursors: dict[str, _Cursor] = {}
        self._ended: set[str] = set()
        self._unknown: set[LetterId] = set()  # a warning was given

    async def run(self) -> None:
        """Work until the partition goes away."""
        with self._tasks.not_started():
            await self._letters.read()
            await self._context.operator_tasks.catch_up(self._tasks_end)
            await self._tasks.until_lease()
        self._handled.restore()
        await self._tell_of_lost_records()
        while not self._tasks.draining:
            more_at_once = await self._round()
            with self._tasks.not_started():
                await asyncio.sleep(0 if more_at_once else LOOK_SECONDS)
                await self._tasks.until_lease()

    async def _tell_of_lost_records(self) -> None:
        """Say it if dead letters are counted as open that have no record: no task can handle them."""
        state = self._journal.state
        # Of a readmitted one, the record may be closed already and the count not moved yet.
        counted = sum(state.dead_letters.values()) - len(state.readmitted)
        try:
            known = self._context.letters.open_number(self._number)
        except StatesUnavailable:
            return
        if known < counted:
            log.error(
                "open dead letters have no record any more: their topic was emptied or made anew. No task handles "
                "them. Their events stand in the dead-letter topic until its retention: publish them again from there",
                partition=self._number,
                open=counted,
                without_record=counted - known,
                topic=self._context.pipeline.letters_topic,
            )

    async def _round(self) -> bool:
        """Begin what can be begun now. Returns whether there may be more at once."""
        try:
            more = await self._read_missing_values()
            more |= await self._erasures.step()
            more |= await self._foreign.step()
            await self._forgetting.step()
            for task in self._context.operator_tasks.running(self._number):
                if task.id in self._ended:
                    continue
                if task.action in _OF_LETTERS:
                    more |= await self._advance(task)
                elif await self._jobs.advance(task):
                    self._ended.add(task.id)
        except (StatesUnavailable, ValuesUnavailable):
            return False
        return more

    async def _read_missing_values(self) -> bool:
        """Read the bytes of events that an earlier owner readmitted."""
        missing = {
            offset: again
            for offset, again in self._journal.state.readmitted.items()
            if again.parks and offset not in self._copies
        }
        if not missing:
            return False
        chosen = dict(sorted(missing.items())[:PAGE])
        values = await self._read({offset: again.place for offset, again in chosen.items()})
        for offset, again in chosen.items():
            self._copies.put(offset, again.event.consumer, values.get(offset))
        return True

    async def _advance(self, task: OperatorTask) -> bool:
        """Begin with more dead letters of a task. Returns whether there may be more at once."""
        context = self._context
        free = self._handled.room_to_run if task.action is Action.REDRIVE else self._handled.room
        room = min(PAGE, free, self._pace.allowed(task, asyncio.get_running_loop().time()))
        if room <= 0:
            return False
        if task.action is Action.REDRIVE and (context.room.full_of_parked or self._no_target_is_up()):
            return False
        cursor = self._cursors.setdefault(task.id, _Cursor())
        page = await self._select(task, cursor, room)
        if not page and not cursor.foreign:
            cursor.foreign, cursor.after = True, -1
            page = await self._select(task, cursor, room)
        if not page:
            await self._end_round(task, cursor)
            return False
        cursor.after = page[-1].id.offset
        if not cursor.foreign:
            page = [known for known in page if not self._is_unknown(known)]
        skipped_before, cursor.skipped = cursor.skipped, True  # should this raise, the page is looked at again
        begun = await self._begin(page, task, foreign=cursor.foreign)
        cursor.skipped = skipped_before or begun < len(page)
        self._pace.took(task, begun)
        return begun > 0 or not page

    def _is_unknown(self, known: KnownLetter) -> bool:
        """Whether another program wrote a record, of an event that is not decided. No task waits for it."""
        if not self._handled.is_unknown(known):
            return False
        if known.id not in self._unknown and len(self._unknown) < LOOKED_AT:
            self._unknown.add(known.id)
            log.warning(
                "a dead-letter record names an event that is not decided; another program wrote it, and no task "
                "handles it",
                dead_letter=str(known.id),
            )
        return True

    async def _begin(self, page: Sequence[KnownLetter], task: OperatorTask, *, foreign: bool) -> int:
        """Begin with the dead letters of a page. Returns with how many."""
        if foreign:
            return await self._foreign.handle(page, task)
        chosen = [known for known in page if self._handled.may_begin(known)]
        return await self._redrive(chosen, task) if task.action is Action.REDRIVE else self._discard(chosen, task)

    def _no_target_is_up(self) -> bool:
        return all(breaker.is_held for breaker in self._context.breakers.values())

    async def _select(self, task: OperatorTask, cursor: _Cursor, limit: int) -> Sequence[KnownLetter]:
        """The next dead letters of a task, lowest offset first."""
        if task.selection.ids:
            return self._named(task, cursor, limit)
        while True:
            chosen = task.selection.filter
            page = self._letters.open_after(cursor.after, chosen, LOOKED_AT, foreign=cursor.foreign)
            found = [known for known in page if task.selects(known.id, known.record)][:limit]
            if found or len(page) < LOOKED_AT:
                return found
            cursor.after = page[-1].id.offset
            await asyncio.sleep(0)  # there may be many that the task has handled

    def _named(self, task: OperatorTask, cursor: _Cursor, limit: int) -> Sequence[KnownLetter]:
        found: list[KnownLetter] = []
        for letter in sorted(task.selection.ids):
            if (letter.partition, letter.foreign) != (self._number, cursor.foreign) or letter.offset <= cursor.after:
                continue
            known = self._letters.get(letter)
            if known is not None and task.selects(letter, known.record):
                found.append(known)
            if len(found) == limit:
                break
        return found

    async def _end_round(self, task: OperatorTask, cursor: _Cursor) -> None:
        """All dead letters of a task were looked at. If none is left, the task has ended on this partition."""
        self._cursors.pop(task.id)
        if cursor.skipped or any(again.task == task.id for _, again in self._handled):
            return
        self._ended.add(task.id)
        if task.selection.ids and all(letter.partition != self._number for letter in task.selection.ids):
            return
        await self._tasks.until_lease()
        key = TaskKey(task.id, "end", self._number).encode()
        topic = self._context.pipeline.tasks_topic
        await self._context.producer.write_one(Write(topic, 0, key, TaskEnd(now_ms()).encode()))
        log.info("a task has ended on a partition", task=task.id, action=task.action.value, partition=self._number)

    def _discard(self, chosen: Sequence[KnownLetter], task: OperatorTask) -> int:
        return sum(self._handled.close(known, Handling.DISCARD, task) for known in chosen)

    async def _redrive(self, chosen: Sequence[KnownLetter], task: OperatorTask) -> int:
        """Begin to redrive dead letters. Returns how many were begun; others are tried again later."""
        room = MOST_BYTES - self._bytes_in_work()
        places: dict[int, ValuePlace | None] = {}
        for known in chosen:
            if places and known.record.size > room:
                break
            room -= known.record.size
            places[known.id.offset] = self._place(known)
        values = await self._read(places)
        values |= await self._read_in_main(
            [one for one in chosen[: len(places)] if one.id.offset not in values], places
        )
        begun = 0
        for known in chosen[: len(places)]:
            offset = known.id.offset
            source = values.get(offset)
            if not await self._target_is_up(source):
                continue
            # No await from the check until the consumer is parked.
            entry = entry_of(known, Handling.REDRIVE, places[offset], task)
            if self._is_unchanged(known) and self._handled.may_begin(known) and self._handled.fits(offset, entry):
                self._parking.redrive(offset, entry, source)
                begun += 1
        return begun

    async def _read_in_main(
        self, lost: Sequence[KnownLetter], places: dict[int, ValuePlace | None]
    ) -> dict[int, SourceRecord]:
        """The events whose dead letters lost their bytes, from the main topic, and their places in ``places``. An edit
        stands nowhere else."""
        letters = {one.id.offset: one.record for one in lost if one.record.may_stand_in_main(places[one.id.offset])}
        there: dict[int, ValuePlace | None] = {offset: ValuePlace(Holder.MAIN, offset) for offset in letters}
        found = await self._read(there)
        theirs = {offset: record for offset, record in found.items() if letters[offset].is_about(record.key)}
        places |= {offset: there[offset] for offset in theirs}
        return theirs

    def _bytes_in_work(self) -> int:
        copies = [self._copies.get(offset) for offset, again in self._handled if again.parks]
        return sum(copy.source.size for copy in copies if copy is not None)

    def _is_unchanged(self, known: KnownLetter) -> bool:
        now = self._letters.get(known.id)
        return now is not None and now.record == known.record

    async def _target_is_up(self, source: SourceRecord | None) -> bool:
        """Whether the target of an event takes events now. An event that cannot be read needs no target."""
        context = self._context
        if source is None:
            return True
        try:
            work = context.flow.read(source)
        except InvalidEvent:
            return True
        found = await self._journal.consumers.find(work.consumer)
        return not context.breakers[context.flow.target(work, found[1] if found else None)].is_held

    def _place(self, known: KnownLetter) -> ValuePlace | None:
        """Where the bytes are that are to be run: those of the newest edit, if there is one."""
        place = known.record.place
        edit = self._context.operator_tasks.edit(known.id)
        newest = place.offset if place is not None and place.holder is Holder.DLQ else -1
        return ValuePlace(Holder.DLQ, edit) if edit is not None and edit > newest else place

    async def _read(self, places: dict[int, ValuePlace | None]) -> dict[int, SourceRecord]:
        there = {offset: place for offset, place in places.items() if place is not None}
        if not there:
            return {}
        with self._tasks.not_started():
            found = await self._context.letter_values.read(self._number, there)
            await self._tasks.until_lease()
        return dict(found)


class _Cursor:
    """How far a task has come on the partition: first with our dead letters, then with foreign ones.

    ``skipped``: something must be looked at again.
    """

    def __init__(self) -> None:
        self.after = -1
        self.foreign = False
        self.skipped = False
