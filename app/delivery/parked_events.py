"""The parked events of a partition as its record keeps them, and how many bytes they take there. No I/O."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.failed_attempt import ATTEMPT_BYTES, ATTEMPTS_KEPT, FailedAttempt, attempts_json, read_attempts
from app.delivery.headers import cut
from app.delivery.state_fields import MalformedPart

# The record keeps at most this much of a parked event's ID (as JSON, without the quotes). The headers of the copy in
# the retry topic hold the whole ID.
EVENT_ID_BYTES = 256
# JSON writes one byte of UTF-8 in at most this many: a control character becomes ``\u0001``.
ESCAPED_BYTES = 6
# The numbers, the reason and the attempts of a parked event that failed; the offset of one that waits.
_FAILING_BYTES, OFFSET_BYTES = 200 + ATTEMPTS_KEPT * ATTEMPT_BYTES, 20


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """One parked event. Times in ms.

    ``attempts``: failed attempts so far; 0: the event waits behind an earlier one of its consumer.

    ``tries``: the newest failed attempts.

    ``day``: the day that the event counts under. It is set only if the event's timestamp cannot be right: then it is
    the day on which the event was first parked.

    The record keeps only consumer and offset of a waiting event, because it may be rewritten many times a second with
    thousands of them.
    """

    consumer: str
    event_id: str = ""
    attempts: int = 0
    due_ms: int = 0
    first_failed_ms: int = 0
    last_failed_ms: int = 0
    reason: str = ""
    day: str = ""
    tries: tuple[FailedAttempt, ...] = ()

    @property
    def only_waits(self) -> bool:
        """Whether the record keeps nothing of it but consumer and offset."""
        return not (self.attempts or self.day)


def json_bytes(text: str) -> int:
    """Bytes of a text in the record, quotes included.

    >>> json_bytes("c-1"), json_bytes('"'), json_bytes("\x01")
    (5, 4, 8)
    """
    return len(orjson.dumps(text))


def consumer_bytes(consumer: str) -> int:
    """Bytes of the record that a parked consumer may take, besides the offsets of its events.

    Its ID stands there once for all events that wait, and once more in the entry of the event that fails. Only one
    event of a consumer fails at a time.
    """
    return 2 * json_bytes(consumer) + EVENT_ID_BYTES + _FAILING_BYTES


def dated_bytes(consumer: str) -> int:
    """Bytes of a parked event that keeps its day: it has an entry of its own."""
    return json_bytes(consumer) + _FAILING_BYTES


def kept_event_id(event_id: str) -> str:
    """The part of a parked event's ID that the record keeps.

    >>> kept_event_id("e-1"), len(kept_event_id("e" * 300)), len(kept_event_id("\x01" * 300))
    ('e-1', 256, 42)
    """
    kept = cut(event_id, EVENT_ID_BYTES)
    return kept if json_bytes(kept) <= EVENT_ID_BYTES + 2 else cut(kept, EVENT_ID_BYTES // ESCAPED_BYTES)


@dataclass(slots=True)
class ParkedGroups:
    """The parked events in the groups that the record has, updated with each change.

    Without it, each event of a hot consumer would cost a walk over all its parked events, of which there may be
    thousands.

    ``about``: the dict whose events are grouped here. ``waiting``: per consumer, the sorted offsets of the events that
    wait; removing one of 60,000 takes a few microseconds. ``own``: consumers whose list belongs to this object; other
    lists are shared with the object that this one was copied from and are copied before they are changed.
    """

    about: dict[int, ParkedEvent]
    failing: dict[int, ParkedEvent] = field(default_factory=dict)
    waiting: dict[str, list[int]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, parked: dict[int, ParkedEvent]) -> ParkedGroups:
        groups = cls(parked)
        for offset, entry in parked.items():
            groups.add(offset, entry)
        return groups

    def copy(self, parked: dict[int, ParkedEvent]) -> ParkedGroups:
        return ParkedGroups(parked, dict(self.failing), dict(self.waiting))

    def add(self, offset: int, entry: ParkedEvent) -> None:
        if entry.only_waits:
            insort(self._own_offsets(entry.consumer), offset)
        else:
            self.failing[offset] = entry

    def remove(self, offset: int, entry: ParkedEvent) -> None:
        if not entry.only_waits:
            self.failing.pop(offset, None)
            return
        offsets = self._own_offsets(entry.consumer)
        del offsets[bisect_left(offsets, offset)]
        if not offsets:
            del self.waiting[entry.consumer]

    def _own_offsets(self, consumer: str) -> list[int]:
        if consumer not in self.own:
            self.own.add(consumer)
            self.waiting[consumer] = list(self.waiting.get(consumer, ()))
        return self.waiting.setdefault(consumer, [])

    def failing_json(self) -> list[list[Any]]:
        """The record's field ``failing``."""
        return [failing_entry(offset, event) for offset, event in self.failing.items()]


def failing_entry(offset: int, event: ParkedEvent) -> list[Any]:
    """An event with all that the record keeps of it."""
    times = (event.due_ms, event.first_failed_ms, event.last_failed_ms)
    entry = [offset, event.consumer, event.event_id, event.attempts, *times, event.reason]
    if event.day or event.tries:
        entry.append(event.day)
    if event.tries:
        entry.append(attempts_json(event.tries))
    return entry


def read_parked(failing: Any, waiting: Any) -> dict[int, ParkedEvent]:
    """The parked events of a record, by offset; the arguments are the record's fields ``failing`` and ``waiting``."""
    offsets_of = fields.members(waiting)
    return dict(fields.entries(failing, _failing)) | {
        offset: ParkedEvent(consumer) for consumer, offsets in offsets_of.items() for offset in fields.numbers(offsets)
    }


def _failing(entry: Any) -> tuple[int, ParkedEvent]:
    offset, parked = read_failing(entry)
    return offset, ParkedEvent(parked.consumer) if parked.only_waits else parked


def read_failing(entry: Any) -> tuple[int, ParkedEvent]:
    """Read what ``failing_entry`` wrote."""
    offset, consumer, *more = entry
    times = fields.moment, fields.moment, fields.moment
    kinds: list[Callable[[Any], Any]] = [fields.text, fields.number, *times, fields.text, _day_or_none, read_attempts]
    if len(more) > len(kinds):
        raise MalformedPart("the entry of a parked event has too many parts")
    read = [kind(value) for kind, value in zip(kinds, more, strict=False)]
    return fields.number(offset), ParkedEvent(fields.text(consumer), *read)


def _day_or_none(value: Any) -> str:
    return fields.day(value) if value else fields.text(value)
