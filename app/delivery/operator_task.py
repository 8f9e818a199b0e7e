"""Operators' tasks: what is to be done with which dead letters. Wishes in the tasks topic; the owner of each partition
carries them out for its own dead letters. No I/O.

The topic is compacted and has one partition. Its keys:

| key                          | value                                                                |
|------------------------------|----------------------------------------------------------------------|
| ``<task>``                   | the task; never changed                                              |
| ``<task>|pause``             | whether it pauses                                                    |
| ``<task>|cancel``            | it is cancelled; final                                               |
| ``<task>|end|<partition>``   | the owner of the partition has handled all that belongs to the task  |
| ``edit|<dead letter>|<o>``   | the dead letter's new bytes stand at offset o of the dead-letter topic |
| ``shown|<name>``             | a person saw values (``values_shown.py``)                            |

Separate keys, because a late write of one must not undo another.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.dead_letter_record import TASKS_KEPT, DeadLetter, LetterStatus
from app.delivery.letter_id import LetterId, read_letter_id
from app.delivery.record_format import FORMAT, MALFORMED, StateError, malformed, state_document
from app.delivery.state_fields import MalformedPart, key_number

# What a person may write about a task. It is repeated in the history of each dead letter.
NOTE_BYTES = 500
BY_BYTES = 200
# Characters of a text in a filter, and of a consumer ID: no consumer, event or kind of failure has a longer name.
NAME_LENGTH = 512
# Characters of a task's ID: the longest one names a record of the main topic.
TASK_LENGTH = 300
# What became of the consumers of a task, by a word each.
_MOST_OUTCOMES = 50
# More single dead letters are selected by a filter.
MOST_IDS = 10_000
MOST_LETTERS = 2**40  # of a partition
# One in 100 seconds: a slower task would look as if it stood still.
LEAST_PER_SECOND = 0.01
MOST_PER_SECOND = 100_000.0

_EDIT = "edit"


class Action(StrEnum):
    """What a task does."""

    REDRIVE = "redrive"
    DISCARD = "discard"
    REPAIR = "repair"
    DISTRUST = "distrust"

    @property
    def is_about_letters(self) -> bool:
        """Whether it is about dead letters; otherwise it is about consumers."""
        return self in (Action.REDRIVE, Action.DISCARD)


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Dead letters by what is known of them; empty: any. ``since_ms``, ``until_ms``: of the last failure."""

    fingerprint: str = ""
    reason: str = ""
    market: str = ""
    operation: str = ""
    entity: str = ""
    consumer: str = ""
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is meant."""
        settlement, kind = letter.settlement, letter.fingerprint
        return (
            self.fingerprint in ("", str(kind))
            and self.reason in ("", kind.reason)
            and self.market in ("", settlement.market)
            and self.operation in ("", settlement.operation)
            and self.entity in ("", kind.entity)
            and self.consumer in ("", settlement.consumer_id)
            and (self.since_ms is None or letter.last_failed_ms >= self.since_ms)
            and (self.until_ms is None or letter.last_failed_ms < self.until_ms)
        )

    @property
    def is_empty(self) -> bool:
        """Whether it means every dead letter."""
        return self == LetterFilter()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters: those with an ID in ``ids``; if there is none, those of ``filter``."""

    ids: tuple[LetterId, ...] = ()
    filter: LetterFilter = LetterFilter()


@dataclass(frozen=True, slots=True)
class OperatorTask:
    """A task. ``consumers``: those that a repair or a distrust is about, by partition; otherwise empty.

    ``rate``: how many dead letters a second are begun at most, over all partitions; None: no limit. ``by``: who made
    it. ``matched``: dead letters that it was about when it was made, by partition.
    """

    id: str
    action: Action
    selection: Selection
    created_ms: int
    by: str
    note: str = ""
    rate: float | None = None
    force: bool = False
    matched: Mapping[int, int] = field(default_factory=dict)
    consumers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def selects(self, letter_id: LetterId, letter: DeadLetter) -> bool:
        """Whether an open dead letter belongs to the task and was not handled by it yet.

        A task that names IDs does not ask for times. One with a filter takes only what was there when it was made. A
        record names only the last tasks: where some may be missing, what was handled after the task was made is done.
        """
        if letter.status is not LetterStatus.OPEN or self.id in letter.tasks:
            return False
        if len(letter.tasks) >= TASKS_KEPT and letter.changed_ms >= self.created_ms:
            return False
        if self.selection.ids:
            return letter_id in self.selection.ids
        return letter.opened_ms <= self.created_ms and self.selection.filter.matches(letter)

    def encode(self) -> bytes:
        """JSON."""
        chosen = self.selection.filter
        return orjson.dumps(
            {
                "v": FORMAT,
                "action": self.action.value,
                "ids": [str(one) for one in self.selection.ids],
                "filter": {
                    "fingerprint": chosen.fingerprint,
                    "reason": chosen.reason,
                    "market": chosen.market,
                    "operation": chosen.operation,
                    "entity": chosen.entity,
                    "consumer": chosen.consumer,
                    "since": chosen.since_ms,
                    "until": chosen.until_ms,
                },
                "created": self.created_ms,
                "by": self.by,
                "note": self.note,
                "rate": self.rate,
                "force": self.force,
                "matched": [[partition, number] for partition, number in self.matched.items()],
                "consumers": [[partition, list(names)] for partition, names in self.consumers.items()],
            }
        )


def decode_task(task_id: str, value: bytes) -> OperatorTask:
    """Read what ``OperatorTask.encode`` wrote.

    Raises:
        StateError: not a task, or one of a newer program.
    """
    document = state_document(value, "task")
    try:
        return _task_of(task_id, document)
    except MALFORMED as error:
        raise malformed("task", error) from None


_name = partial(fields.short, most=NAME_LENGTH)


def _task_of(task_id: str, document: dict[str, Any]) -> OperatorTask:
    chosen = fields.members(document["filter"])
    letter_filter = LetterFilter(
        fingerprint=_name(chosen["fingerprint"]),
        reason=_name(chosen["reason"]),
        market=_name(chosen["market"]),
        operation=_name(chosen["operation"]),
        entity=_name(chosen["entity"]),
        consumer=_name(chosen["consumer"]),
        since_ms=fields.optional(chosen["since"], fields.moment),
        until_ms=fields.optional(chosen["until"], fields.moment),
    )
    ids = tuple(fields.entries(document["ids"], _letter_id))
    if len(ids) > MOST_IDS:
        raise MalformedPart(f"expected at most {MOST_IDS} dead letters")
    return OperatorTask(
        id=task_id,
        action=Action(fields.text(document["action"])),
        selection=Selection(ids, letter_filter),
        created_ms=fields.moment(document["created"]),
        by=fields.short(document["by"], BY_BYTES),
        note=fields.short(document["note"], NOTE_BYTES),
        rate=fields.optional(document["rate"], _rate),
        force=fields.flag(document["force"]),
        matched=dict(fields.entries(document["matched"], _number_of)),
        consumers=dict(fields.entries(document["consumers"], _names_of)),
    )


def _letter_id(value: Any) -> LetterId:
    found = read_letter_id(fields.text(value))
    if found is None:
        raise MalformedPart("expected the ID of a dead letter")
    return found


def _rate(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= MOST_PER_SECOND:
        raise MalformedPart(f"expected a rate of more than 0 and at most {MOST_PER_SECOND:g} a second")
    return float(value)


def _number_of(pair: Any) -> tuple[int, int]:
    partition, number = pair
    if fields.number(number) > MOST_LETTERS:
        raise MalformedPart(f"expected at most {MOST_LETTERS} dead letters of a partition")
    return fields.number(partition), number


def _names_of(pair: Any) -> tuple[int, tuple[str, ...]]:
    partition, names = pair
    return fields.number(partition), tuple(fields.entries(names, _name))


def new_task_id(action: Action, now_ms: int) -> str:
    """An ID that no other task has; IDs of one action sort by time."""
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return f"{action.value}-{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


# Keys


@dataclass(frozen=True, slots=True)
class TaskKey:
    """What a record of the tasks topic is about. ``part``: "", pause, cancel or end; ``partition``: of an end."""

    task: str
    part: str = ""
    partition: int = -1

    def encode(self) -> bytes:
        """The key."""
        parts = (
            self.task,
            *((self.part,) if self.part else ()),
            *((str(self.partition),) if self.part == "end" else ()),
        )
        return "|".join(parts).encode()


@dataclass(frozen=True, slots=True)
class EditKey:
    """An edit of a dead letter: its new bytes stand at ``offset`` of the dead-letter topic."""

    letter: LetterId
    offset: int

    def encode(self) -> bytes:
        """The key."""
        return f"{_EDIT}|{self.letter}|{self.offset}".encode()


def parse_tasks_key(key: bytes) -> TaskKey | EditKey:
    """What a record of the tasks topic is about.

    Raises:
        StateError: not a key of this program.
    """
    try:
        parts = key.decode().split("|")
        if parts[0] == _EDIT:
            _, letter, offset = parts
            return EditKey(_letter_id(letter), key_number(offset))
        match parts:
            case [task, *_] if not 0 < len(task) <= TASK_LENGTH:
                pass
            case [task]:
                return TaskKey(task)
            case [task, "pause" | "cancel" as part]:
                return TaskKey(task, part)
            case [task, "end", partition]:
                return TaskKey(task, "end", key_number(partition))
    except ValueError:
        pass
    raise StateError("not a key of the tasks topic")


# What the smaller records say


@dataclass(frozen=True, slots=True)
class Note:
    """Who paused, cancelled or edited, when and why. ``on``: of a pause: whether it pauses."""

    by: str
    at_ms: int
    note: str = ""
    on: bool = True

    def encode(self) -> bytes:
        """JSON."""
        return orjson.dumps({"v": FORMAT, "by": self.by, "at": self.at_ms, "note": self.note, "on": self.on})


def decode_note(value: bytes) -> Note:
    """Read what ``Note.encode`` wrote.

    Raises:
        StateError: not a note.
    """
    document = state_document(value, "note")
    try:
        return Note(
            fields.short(document["by"], BY_BYTES),
            fields.moment(document["at"]),
            fields.short(document["note"], NOTE_BYTES),
            fields.flag(document["on"]),
        )
    except MALFORMED as error:
        raise malformed("note", error) from None


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """The owner of a partition has handled everything of a task.

    ``done``: consumers by what became of them. It is empty for dead letters, whose records say so themselves.
    """

    at_ms: int
    done: Mapping[str, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """JSON."""
        return orjson.dumps({"v": FORMAT, "at": self.at_ms, "done": dict(self.done)})


def decode_end(value: bytes) -> TaskEnd:
    """Read what ``TaskEnd.encode`` wrote.

    Raises:
        StateError: not the end of a task.
    """
    document = state_document(value, "end")
    try:
        done = {_name(name): fields.number(number) for name, number in fields.members(document["done"]).items()}
        if len(done) > _MOST_OUTCOMES:
            raise MalformedPart(f"expected at most {_MOST_OUTCOMES} outcomes")
        return TaskEnd(fields.moment(document["at"]), done)
    except MALFORMED as error:
        raise malformed("end", error) from None
