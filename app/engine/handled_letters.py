"""The dead letters of one partition that are being handled, and how those end of which nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from app.delivery.counts import Settlement
from app.delivery.dead_letter_record import ValuePlace
from app.delivery.errors import SYNC_ERASED, SYNC_OPERATOR
from app.delivery.operator_task import OperatorTask
from app.delivery.outcome import Outcome
from app.delivery.parked_events import ParkedEvent, kept_event_id
from app.delivery.readmitted import MOST_READMITTED, MOST_REDRIVEN, Handling, Readmitted
from app.delivery.record import SourceRecord
from app.delivery.state_fields import LARGEST
from app.engine.context import EngineContext, now_ms
from app.engine.journal import Journal
from app.engine.letter_sources import KnownLetter
from app.engine.parking import Parking
from app.engine.partition_tasks import PartitionTasks
from app.engine.record_room import RecordRoom
from app.engine.settling import Settling


class HandledLetters:
    """Dead letters from the decision to handle them until they are settled again.

    Discarded and erased ones are in ``_closing``. Those that are redriven are admitted and run by ``Parking``.
    """

    def __init__(
        self,
        number: int,
        context: EngineContext,
        tasks: PartitionTasks,
        journal: Journal,
        *,
        parking: Parking,
        settling: Settling,
        record_room: RecordRoom,
    ) -> None:
        self._number = number
        self._context = context
        self._tasks = tasks
        self._journal = journal
        self._parking = parking
        self._settling = settling
        self._record_room = record_room
        self._closing: dict[int, Readmitted] = {}

    def restore(self) -> None:
        """Finish the discards and erasures that the last owner has begun."""
        for offset, again in self._journal.state.readmitted.items():
            if not again.parks:
                self._closing[offset] = again
                self._tasks.spawn(self._close(offset, again))

    def __iter__(self) -> Iterator[tuple[int, Readmitted]]:
        """Main offset and entry of each."""
        return iter({**self._journal.state.readmitted, **self._parking.admitting, **self._closing}.items())

    @property
    def room(self) -> int:
        """How many more may be handled now."""
        state = self._journal.state
        return MOST_READMITTED - len(state.readmitted.keys() | self._parking.admitting.keys() | self._closing.keys())

    @property
    def room_to_run(self) -> int:
        """How many more may be run again now."""
        return self.room - (MOST_READMITTED - MOST_REDRIVEN)

    def may_begin(self, known: KnownLetter) -> bool:
        """Whether the event of a dead letter is settled, and nothing is done with it."""
        offset, state = known.id.offset, self._journal.state
        return (
            state.decided(offset)
            and offset not in state.parked
            and offset not in state.readmitted
            and offset not in state.verdicts
            and offset not in self._closing
            and offset not in self._parking.admitting
        )

    def is_unknown(self, known: KnownLetter) -> bool:
        """Whether a record names an event of which nothing is decided: this program has not written it.

        Every dead-letter record is written after the partition record lists its event as given up or readmitted.
        """
        offset, state = known.id.offset, self._journal.state
        return not (state.decided(offset) or offset in state.verdicts or offset in state.readmitted)

    def fits(self, offset: int, entry: Readmitted) -> bool:
        """Whether the partition record has room for one more dead letter that is handled."""
        return self._record_room.fits_too(offset, entry)

    def close(self, known: KnownLetter, handling: Handling, task: OperatorTask | None = None) -> bool:
        """Begin to discard or to erase a dead letter. False: the partition record has no room for it now."""
        offset, entry = known.id.offset, entry_of(known, handling, known.record.place, task)
        if not self.fits(offset, entry):
            return False
        self._closing[offset] = entry
        self._record_room.readmit(offset, entry)
        self._tasks.spawn(self._readmit_and_close(offset, entry))
        return True

    async def _readmit_and_close(self, offset: int, entry: Readmitted) -> None:
        await self._journal.readmit(offset, entry)
        await self._close(offset, entry)

    async def _close(self, offset: int, again: Readmitted) -> None:
        key = again.event.consumer.encode(errors="replace")
        record = SourceRecord(self._context.pipeline.topic, self._number, offset, now_ms(), key, None)
        await self._settling.end(record, _without_running(again))
        self._closing.pop(offset, None)


def entry_of(
    known: KnownLetter, handling: Handling, place: ValuePlace | None, task: OperatorTask | None = None
) -> Readmitted:
    """The entry of a dead letter that begins to be handled.

    Args:
        place: where the bytes are that are to be run. Another place than that of the record: they were edited.
    """
    letter, settlement = known.record, known.record.settlement
    return Readmitted(
        handling=handling,
        number=min(letter.redrives + 1, LARGEST),
        task="" if task is None else task.id,
        by="" if task is None else task.by,
        place=place,
        reverse=settlement,
        # The event's timestamp need not say the day that it counts under.
        event=ParkedEvent(settlement.consumer_id or "", kept_event_id(settlement.event_id), day=settlement.day),
        tasks=letter.tasks,
        original=letter.original or (letter.place if place != letter.place else None),
        force=task is not None and task.force,
    )


def _without_running(again: Readmitted) -> Settlement:
    """How an event counts that an operator discards, or whose consumer was deleted."""
    discarded = again.handling is Handling.DISCARD
    return replace(
        again.reverse,
        outcome=Outcome.DISCARDED if discarded else Outcome.SUPERSEDED,
        reason=(SYNC_OPERATOR if discarded else SYNC_ERASED).code,
        records=(),
        failures=(),
        full_state=False,
        erases=False,
    )
