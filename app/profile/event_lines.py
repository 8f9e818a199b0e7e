"""Reads events from files: JSON lines, one JSON document, or an array of events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from app.delivery.errors import EVENT_NOT_JSON, EVENT_TOO_LARGE
from app.delivery.outcome import InvalidEvent
from app.profile.entities import Catalog
from app.profile.event import ProfileEvent
from app.profile.event_reader import check_document, decode_json, event_document
from app.profile.event_value import BYTE_ORDER_MARK, UnreadableValue, split_array
from app.profile.exported_letter import is_export

# Anything but JSON lines is read at once; this limits the memory.
LONGEST_DOCUMENT = 64 * 1024 * 1024
# JSON within JSON has a backslash before each quote, and the line has headers too.
EXPORT_GROWTH = 3


@dataclass(frozen=True, slots=True)
class EventLine:
    """A valid event. ``value`` is its JSON as it stands in the file."""

    line: int
    value: bytes
    event: ProfileEvent


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that holds no valid event. ``code``: a registry code. ``reason`` quotes no value."""

    line: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExportedLine:
    """A dead letter that ``dlq export`` wrote; ``exported_letter.py`` reads it."""

    line: int
    document: dict[str, Any]


def read_event_lines(stream: BinaryIO, catalog: Catalog, longest: int) -> Iterator[EventLine | RejectedLine]:
    """The events of a stream: JSON lines, one JSON document, or a JSON array; CloudEvents in structured mode too.

    JSON lines are read one by one, at most ``longest`` bytes of each. They are numbered from 1, and empty lines are
    skipped. A stream that begins with an array, or whose first object spans several lines, is read as a whole, up to
    ``LONGEST_DOCUMENT`` bytes; the entries of an array are numbered from 1.
    """
    for one in _entries(stream, catalog, longest, exports=False):
        assert not isinstance(one, ExportedLine)
        yield one


def read_lines_to_publish(
    stream: BinaryIO, catalog: Catalog, longest: int
) -> Iterator[EventLine | ExportedLine | RejectedLine]:
    """Like ``read_event_lines``, but lines of ``dlq export`` are returned as they are. Such a line may be longer,
    because it holds a value as text within JSON."""
    return _entries(stream, catalog, longest, exports=True)


def _entries(
    stream: BinaryIO, catalog: Catalog, longest: int, *, exports: bool
) -> Iterator[EventLine | ExportedLine | RejectedLine]:
    most = longest * EXPORT_GROWTH if exports else longest
    number, head = _first_line(stream, most)
    if head.lstrip().startswith(b"[") or (head.endswith(b"\n") and _goes_on(head.strip())):
        rest = stream.read(LONGEST_DOCUMENT + 1)
        if len(rest) > LONGEST_DOCUMENT:
            reason = f"a document of more than {LONGEST_DOCUMENT:,} bytes; larger ones must be JSON lines"
            yield RejectedLine(number, EVENT_TOO_LARGE.code, reason)
        else:
            yield from _document(head + rest, number, catalog, longest)
        return
    for line_number, line in _lines(stream, most, number, head):
        if line is None or line:
            yield _read(line_number, line, catalog, longest, exports=exports)


def read_event_document(content: bytes, catalog: Catalog) -> Iterator[EventLine | RejectedLine]:
    """Like ``read_event_lines``, for the content of a whole file."""
    return read_event_lines(BytesIO(content), catalog, max(len(content), 1))


def _goes_on(line: bytes) -> bool:
    """Whether a first line is the beginning of an object that goes on in the next line."""
    if not line.startswith(b"{"):
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        # The line was valid up to its end. An unclosed string is reported at its beginning, so it needs a check of its
        # own.
        return error.pos >= len(error.doc) or error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        pass
    return False


def _document(
    content: bytes, number: int, catalog: Catalog, longest: int
) -> Iterator[EventLine | ExportedLine | RejectedLine]:
    try:
        entries = split_array(content) if content.lstrip().startswith(b"[") else [content.strip()]
        if len(entries) == 1:
            decode_json(entries[0], "-")
    except (InvalidEvent, UnreadableValue) as invalid:
        code, message = invalid.entry.code, invalid.message
        lines = [
            _read(number + at, line.strip(), catalog, longest)
            for at, line in enumerate(content.split(b"\n"))
            if line.strip()
        ]
        if all(isinstance(line, RejectedLine) and line.code == EVENT_NOT_JSON.code for line in lines):
            # Not JSON lines at all: report one faulty document, not one fault per line.
            lines = [RejectedLine(number, code, message)]
        yield from lines
        return
    for position, value in enumerate(entries, start=1):
        yield _read(position, value, catalog, longest)


def _read(
    number: int, value: bytes | None, catalog: Catalog, longest: int, *, exports: bool = False
) -> EventLine | ExportedLine | RejectedLine:
    too_large = RejectedLine(number, EVENT_TOO_LARGE.code, f"more than {longest} bytes, the most the topic takes")
    if value is None or (len(value) > longest and not exports):
        return too_large
    name = f"line {number}"
    try:
        decoded = decode_json(value, name)
        if exports and is_export(decoded):
            return ExportedLine(number, decoded)
        if len(value) > longest:
            return too_large
        return EventLine(number, value, check_document(event_document(decoded, name), catalog, name))
    except InvalidEvent as invalid:
        return RejectedLine(number, invalid.entry.code, invalid.message)


def _first_line(stream: BinaryIO, longest: int) -> tuple[int, bytes]:
    """Number and beginning of the first line that is not empty; no bytes: there is no such line."""
    number, part = 0, b""
    while not part.strip():
        number, part = number + 1, stream.readline(longest + 2)  # room for the line's end
        if number == 1:
            part = part.removeprefix(BYTE_ORDER_MARK)
            if not part:
                continue
        if not part:
            break
        if not part.strip():
            _skip_rest(part, stream, longest)
    return number, part


def _lines(stream: BinaryIO, longest: int, number: int, part: bytes) -> Iterator[tuple[int, bytes | None]]:
    """(number, stripped line), beginning with a line that is already read; None: a line is too long and is skipped."""
    while part:
        line = part.strip()
        yield number, line if len(line) <= longest else None
        _skip_rest(part, stream, longest)
        number, part = number + 1, stream.readline(longest + 2)


def _skip_rest(part: bytes, stream: BinaryIO, longest: int) -> None:
    while part and not part.endswith(b"\n"):
        part = stream.readline(longest)
