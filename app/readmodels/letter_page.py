"""Where a page of dead letters ends and the next one begins. Pure."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Collection
from dataclasses import astuple, dataclass
from enum import StrEnum

import orjson

from app.delivery import state_fields as fields
from app.delivery.operator_task import LetterFilter


class ShownStatus(StrEnum):
    """What a person is told about a dead letter. *Redriving*: its owner has begun to redrive, discard or erase it."""

    OPEN = "open"
    REDRIVING = "redriving"
    SETTLED = "settled"
    DISCARDED = "discarded"


class CursorError(ValueError):
    """A cursor that ``page`` did not give for this filter."""


# Where a dead letter stands in the order of pages, newest failure first: the values of these columns, all descending.
Place = tuple[int, int, int, int]
ORDER = ("last_failed", "partition", "is_foreign", "place")


@dataclass(frozen=True, slots=True)
class _Cursor:
    last_failed: int
    partition: int
    is_foreign: int
    place: int
    about: int


def encode_cursor(place: Place, chosen: LetterFilter, statuses: Collection[ShownStatus]) -> str:
    """The cursor of the page that follows the dead letter at ``place``."""
    content = orjson.dumps([*place, _about(chosen, statuses)])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode_cursor(cursor: str, chosen: LetterFilter, statuses: Collection[ShownStatus]) -> Place:
    """The place that ``encode_cursor`` was given.

    Raises:
        CursorError: another text, or the cursor of another filter.
    """
    try:
        content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = _Cursor(*fields.numbers(orjson.loads(content)))
    except (ValueError, TypeError, binascii.Error):
        raise CursorError("not a cursor of this list; leave it out to begin with the first page") from None
    if found.about != _about(chosen, statuses):
        raise CursorError("the cursor belongs to another filter; leave it out to begin with the first page")
    return found.last_failed, found.partition, found.is_foreign, found.place


def _about(chosen: LetterFilter, statuses: Collection[ShownStatus]) -> int:
    return zlib.crc32(repr((astuple(chosen), sorted(map(str, statuses)))).encode("utf-8", "surrogatepass"))
