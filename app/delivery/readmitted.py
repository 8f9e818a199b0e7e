"""Readmitted dead letters: a task, or an erasure, has begun to handle them. They stand in the partition record. No I/O.

A redrive, a discard and an erasure each begin with one change of the partition record, *readmit*, and end with
another one, which settles the event again. An event that is redriven parks its consumer meanwhile; one that is
discarded or erased does not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.counts import Settlement, read_settlement
from app.delivery.dead_letter_record import ValuePlace, read_place
from app.delivery.parked_events import ParkedEvent, failing_entry, read_failing

# The record is rewritten with every group commit, so at most this many entries may stand in it.
MOST_READMITTED = 200
# So many of them may be run again. The others are for what is only closed: it waits for no target that is down.
MOST_REDRIVEN = 150


class Handling(StrEnum):
    """What is done with a dead letter."""

    REDRIVE = "redrive"  # run again
    DISCARD = "discard"  # an operator does not want it
    ERASE = "erase"  # a later DELETE of the profile was settled


@dataclass(frozen=True, slots=True)
class Readmitted:
    """A dead letter that is being handled.

    ``number``: how often it was handled, this time included. ``task``: the task's ID, "" for an erasure. ``by``: who
    made the task. ``place``: where its bytes are; None: they are gone. ``original``: see ``DeadLetter``. ``reverse``:
    how the event counts until it is settled again. ``event``: its consumer and its failed attempts since it was
    readmitted. ``tasks``: the tasks that handled it before. ``force``: it runs even if a later state was written.
    """

    handling: Handling
    number: int
    task: str
    by: str
    place: ValuePlace | None
    reverse: Settlement
    event: ParkedEvent
    tasks: tuple[str, ...] = ()
    original: ValuePlace | None = None
    force: bool = False
    size: int = field(default=0, compare=False)  # bytes of its entry in the partition record

    @property
    def parks(self) -> bool:
        """Whether its consumer is parked until it is settled."""
        return self.handling is Handling.REDRIVE

    def to_json(self, offset: int) -> list[Any]:
        """Its entry in the partition record."""
        return [
            failing_entry(offset, self.event),
            self.handling.value,
            self.number,
            self.task,
            self.by,
            self.place.to_json() if self.place else None,
            asdict(self.reverse),
            self.tasks,
            self.original.to_json() if self.original else None,
            self.force,
        ]


def readmitted_bytes(offset: int, entry: Readmitted) -> int:
    """Bytes that an entry takes in the partition record."""
    return len(orjson.dumps(entry.to_json(offset))) + 1


def read_readmitted(entry: Any) -> tuple[int, Readmitted]:
    """Offset and entry, as ``to_json`` wrote them."""
    event, handling, number, task, by, place, reverse, tasks, original, force = entry
    offset, parked = read_failing(event)
    return offset, Readmitted(
        handling=Handling(fields.text(handling)),
        number=fields.number(number),
        task=fields.text(task),
        by=fields.text(by),
        place=fields.optional(place, read_place),
        reverse=read_settlement(reverse),
        event=parked,
        tasks=tuple(fields.entries(tasks, fields.text)),
        original=fields.optional(original, read_place),
        force=fields.flag(force),
    )
