"""Where a page of dead letters ends and the next one begins. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple, replace
from enum import StrEnum

from app.delivery.operator_task import LetterFilter
from app.readmodels.cursors import decode_place, encode_place


class ShownStatus(StrEnum):
    """What a person is told about a dead letter. *Redriving*: its owner has begun to redrive, discard or erase it."""

    OPEN = "open"
    REDRIVING = "redriving"
    SETTLED = "settled"
    DISCARDED = "discarded"


# Where a dead letter stands in the order of pages, newest failure first: the values of these columns, all descending.
Place = tuple[int, int, int, int]
ORDER = ("last_failed", "partition", "is_foreign", "place")


def encode_cursor(place: Place, chosen: LetterFilter, statuses: Collection[ShownStatus]) -> str:
    """The cursor of the page that follows the dead letter at ``place``."""
    return encode_place(place, _about(chosen, statuses))


def decode_cursor(cursor: str, chosen: LetterFilter, statuses: Collection[ShownStatus]) -> Place:
    """The place that ``encode_cursor`` was given.

    Raises:
        CursorError: another text, or the cursor of another filter.
    """
    last_failed, partition, is_foreign, place = decode_place(cursor, _about(chosen, statuses), len(ORDER))
    return last_failed, partition, is_foreign, place


def _about(chosen: LetterFilter, statuses: Collection[ShownStatus]) -> object:
    """What a cursor belongs to. Its times are left out: an age such as 24h is another time for each page."""
    return astuple(replace(chosen, since_ms=None, until_ms=None)), sorted(map(str, statuses))
