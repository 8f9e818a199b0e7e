"""The dead-letter record: what is durably known of one dead letter, in a compacted topic of its own. No I/O.

The partition record decides, this record reports. Invariants:

* A dead letter is *open*, *settled* or *discarded*. That it is being redriven stands in the partition record only.
* A record is written only while the partition record lists its event as given up or readmitted. So whatever a former
  owner writes late, the next owner has the same entry, and its record has the higher epoch.
* ``tasks`` names the tasks that handled the dead letter, so none handles it twice.
* The record holds no values. ``place`` says where the event's bytes are.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.counts import Settlement, read_settlement
from app.delivery.failed_attempt import ATTEMPTS_KEPT, FailedAttempt, attempts_json, read_attempts
from app.delivery.fingerprint import Fingerprint
from app.delivery.headers import MESSAGE_BYTES
from app.delivery.record import start_of
from app.delivery.record_format import FORMAT, MALFORMED, malformed, state_document
from app.delivery.state_fields import MalformedPart

# A dead letter names the newest of the tasks that handled it, and keeps the first and the newest lines of its history.
TASKS_KEPT = 64
HISTORY_KEPT = 50

# Characters of what people and producers name: IDs of consumers, events and tasks, reasons, who did something and why.
# Other programs may write such records too, and parts of one go into the partition record when it is handled.
NAME_LENGTH = 512
# Characters of a message. Ours are shorter.
MESSAGE_LENGTH = 4 * MESSAGE_BYTES
# A settlement has at most one count of records for each entity, and one of failures for each entity and reason.
MOST_COUNTS = 1000
SETTLEMENT_LENGTH = 64 * 1024

_name = partial(fields.short, most=NAME_LENGTH)


class LetterStatus(StrEnum):
    """What a dead-letter record says of its dead letter."""

    OPEN = "open"
    SETTLED = "settled"
    DISCARDED = "discarded"


class Holder(StrEnum):
    """The topic that holds a dead letter's bytes."""

    DLQ = "dlq"
    MAIN = "main"  # the dead-letter topic took the dead letter without its value


@dataclass(frozen=True, slots=True)
class ValuePlace:
    """Where the bytes of a dead letter are, in the partition of its event."""

    holder: Holder
    offset: int

    def to_json(self) -> list[Any]:
        """Holder and offset."""
        return [self.holder.value, self.offset]


def read_place(value: Any) -> ValuePlace:
    """Read what ``ValuePlace.to_json`` wrote."""
    holder, offset = value
    return ValuePlace(Holder(fields.text(holder)), fields.number(offset))


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One thing that happened to a dead letter.

    ``action``: ``failed`` (it was given up), ``redrive``, ``discard`` or ``erase``. ``outcome``: what came of it; "" if
    there was none, because the value is gone. ``by``, ``task`` and ``note``: of the task, or empty.
    """

    at_ms: int
    action: str
    outcome: str = ""
    reason: str = ""
    by: str = ""
    task: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. Times in ms.

    ``settlement``: how the event counts now, without rows; it also says consumer, event ID, market and operation.
    ``fingerprint``: what failed. ``message``: masked. ``request_id``: of Marketing Cloud's answer to the last attempt.
    ``attempts``: those of the last run. ``opened_ms``: when it first became a dead letter. ``redrives``: how often it
    was handled. ``place``: None if the bytes are gone. ``original``: where the bytes are that the producer sent, if
    they were edited. ``size``: of key, value and headers, in bytes.
    """

    status: LetterStatus
    settlement: Settlement
    fingerprint: Fingerprint
    message: str
    first_failed_ms: int
    last_failed_ms: int
    opened_ms: int
    place: ValuePlace | None
    request_id: str = ""
    attempts: tuple[FailedAttempt, ...] = ()
    redrives: int = 0
    tasks: tuple[str, ...] = ()
    history: tuple[HistoryLine, ...] = ()
    original: ValuePlace | None = None
    size: int = 0
    has_key: bool = True  # a readable key, so it can be redriven
    changed_ms: int = field(default=0)  # when the record was written

    def may_stand_in_main(self, wanted: ValuePlace | None) -> bool:
        """Whether the main topic may have the bytes that are not at ``wanted`` any more: not those of an edit."""
        return self.place is not None and self.original is None and wanted == self.place

    def is_about(self, key: bytes | None) -> bool:
        """Whether this is the key of the dead letter's consumer."""
        consumer = self.settlement.consumer_id
        return consumer is not None and key == consumer.encode(errors="replace")

    def encode(self) -> bytes:
        """JSON."""
        document = {
            "v": FORMAT,
            "status": self.status.value,
            "settlement": asdict(self.settlement),
            "fingerprint": [self.fingerprint.reason, self.fingerprint.entity, self.fingerprint.operation],
            "message": self.message,
            "firstFailed": self.first_failed_ms,
            "lastFailed": self.last_failed_ms,
            "opened": self.opened_ms,
            "place": self.place.to_json() if self.place else None,
            "requestId": self.request_id,
            "attempts": attempts_json(self.attempts),
            "redrives": self.redrives,
            "tasks": self.tasks,
            "history": [_line_json(line) for line in self.history],
            "original": self.original.to_json() if self.original else None,
            "size": self.size,
            "hasKey": self.has_key,
            "changed": self.changed_ms,
        }
        return orjson.dumps(document)

    @classmethod
    def decode(cls, value: bytes) -> DeadLetter:
        """Read what ``encode`` wrote.

        Raises:
            StateError: not a dead-letter record, or one of a newer program.
        """
        document = state_document(value, "dead-letter")
        try:
            return cls._of(document)
        except MALFORMED as error:
            raise malformed("dead-letter", error) from None

    @classmethod
    def _of(cls, document: dict[str, Any]) -> DeadLetter:
        reason, entity, operation = fields.few(document["fingerprint"], _name, 3)
        return cls(
            status=LetterStatus(fields.text(document["status"])),
            settlement=_read_counted(document["settlement"]),
            fingerprint=Fingerprint(reason, entity, operation),
            message=fields.short(document["message"], MESSAGE_LENGTH),
            first_failed_ms=fields.moment(document["firstFailed"]),
            last_failed_ms=fields.moment(document["lastFailed"]),
            opened_ms=fields.moment(document["opened"]),
            place=fields.optional(document["place"], read_place),
            request_id=_name(document["requestId"]),
            attempts=_read_attempts(document["attempts"]),
            redrives=fields.number(document["redrives"]),
            tasks=tuple(fields.few(document["tasks"], _name, TASKS_KEPT)),
            history=tuple(fields.few(document["history"], _read_line, HISTORY_KEPT)),
            original=fields.optional(document["original"], read_place),
            size=fields.number(document["size"]),
            has_key=fields.flag(document["hasKey"]),
            changed_ms=fields.moment(document["changed"]),
        )


def kept_since(letter: DeadLetter) -> int | None:
    """The earliest time, in ms, that the record with a dead letter's bytes can have in its topic; None: no bytes.

    Retention counts from that record's time. The dead-letter topic's record is written after the last failure. Of a
    record of the main topic, only its day is known.
    """
    if letter.place is None:
        return None
    if letter.place.holder is Holder.MAIN:
        with contextlib.suppress(ValueError):  # another program wrote a day that does not exist, such as 2026-02-31
            return start_of(letter.settlement.day)
    return letter.last_failed_ms


def with_line(history: tuple[HistoryLine, ...], line: HistoryLine) -> tuple[HistoryLine, ...]:
    """The history with one more line. The first line and the newest ones are kept."""
    longer = (*history, line)
    return longer if len(longer) <= HISTORY_KEPT else (longer[0], *longer[-(HISTORY_KEPT - 1) :])


def with_task(tasks: tuple[str, ...], task: str) -> tuple[str, ...]:
    """The tasks with one more; the newest ones are kept. An erasure has no task."""
    return (*tasks, task)[-TASKS_KEPT:] if task and task not in tasks else tasks


def _line_json(line: HistoryLine) -> list[Any]:
    return [line.at_ms, line.action, line.outcome, line.reason, line.by, line.task, line.note]


def _read_line(entry: Any) -> HistoryLine:
    at_ms, *texts = entry
    if len(texts) != 6:
        raise MalformedPart("expected a line of history")
    return HistoryLine(fields.moment(at_ms), *map(_name, texts))


def _read_attempts(value: Any) -> tuple[FailedAttempt, ...]:
    attempts = read_attempts(value)
    if len(attempts) > ATTEMPTS_KEPT or any(len(attempt.code) > NAME_LENGTH for attempt in attempts):
        raise MalformedPart("expected fewer and shorter attempts")
    return attempts


def _read_counted(document: Any) -> Settlement:
    """A settlement as a dead-letter record has it: without rows, and not larger than one event makes it."""
    settlement = read_settlement(document)
    names = [settlement.consumer_id or "", settlement.event_id, settlement.operation, settlement.market]
    names += [settlement.reason or "", *(record.entity for record in settlement.records)]
    names += [name for failure in settlement.failures for name in (failure.entity, failure.reason)]
    if max(map(len, names)) > NAME_LENGTH or sum(map(len, names)) > SETTLEMENT_LENGTH:
        raise MalformedPart("expected a settlement with shorter texts")
    if max(len(settlement.records), len(settlement.failures)) > MOST_COUNTS or settlement.rows or settlement.deleted:
        raise MalformedPart("expected a settlement with fewer parts")
    return settlement
