"""Events as people keep them in files: JSON lines, or one JSON document with an event or a list of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from app.domain.entities import Catalog
from app.domain.errors import EVENT_NOT_JSON, EVENT_TOO_LARGE
from app.domain.event import InvalidEvent, ProfileEvent, check_document, decode_document, decode_json

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event that may be published. ``value`` is the line as it stands, without the line's end."""

    line: int
    value: bytes
    event: ProfileEvent


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that holds no event: a registry code, and the reason without any value."""

    line: int
    code: str
    reason: str


def read_event_lines(stream: BinaryIO, catalog: Catalog, longest: int) -> Iterator[EventLine | RejectedLine]:
    """Every line of a stream, numbered from 1; empty ones are passed over.

    Reads line by line, and never more than ``longest`` bytes of one.
    """
    for number, value in _lines(stream, longest):
        if value is None:
            yield RejectedLine(number, EVENT_TOO_LARGE.code, f"more than {longest} bytes, the most the topic takes")
        elif value:
            yield _read(number, value, catalog)


def read_event_document(content: bytes, catalog: Catalog) -> Iterator[EventLine | RejectedLine]:
    """The events of a whole file: one JSON event, a list of events, or JSON lines.

    In a list, events are numbered from 1 by their position.
    """
    content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        document = decode_json(content, "-")
    except InvalidEvent as invalid:
        lines = [
            _read(number, line.strip(), catalog) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()
        ]
        if lines and all(isinstance(line, RejectedLine) and line.code == EVENT_NOT_JSON.code for line in lines):
            # No JSON lines at all: a document with a mistake, not one mistake a line.
            lines = [RejectedLine(1, invalid.entry.code, invalid.message)]
        yield from lines
        return
    for number, entry in enumerate(document if isinstance(document, list) else [document], start=1):
        try:
            if not isinstance(entry, dict):
                raise InvalidEvent(EVENT_NOT_JSON, "JSON, but not an object", event_id=str(number))
            yield EventLine(number, content, check_document(entry, catalog, str(number)))
        except InvalidEvent as invalid:
            yield RejectedLine(number, invalid.entry.code, invalid.message)


def _read(number: int, value: bytes, catalog: Catalog) -> EventLine | RejectedLine:
    name = f"line {number}"
    try:
        return EventLine(number, value, check_document(decode_document(value, name), catalog, name))
    except InvalidEvent as invalid:
        return RejectedLine(number, invalid.entry.code, invalid.message)


def _lines(stream: BinaryIO, longest: int) -> Iterator[tuple[int, bytes | None]]:
    """(number, stripped line); None for a line that is too long, the rest of which is skipped."""
    number = 0
    while part := stream.readline(longest + 2):  # room for the line's end
        number += 1
        if number == 1:
            part = part.removeprefix(_BYTE_ORDER_MARK)
        line = part.strip()
        yield number, line if len(line) <= longest else None
        while part and not part.endswith(b"\n"):
            part = stream.readline(longest)
