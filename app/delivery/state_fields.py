"""Checks for the parts of a durable record: other programs may write into the state topics too. Pure.

Every function returns the value, or raises ``MalformedPart`` if this program would not have written it. A value that
passes can be used anywhere: as an offset, as a date, in SQLite, in JSON. The messages do not repeat content.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from app.delivery.record import LATEST_MS

_T = TypeVar("_T")

# Every JSON reader holds a whole number up to this one exactly; no offset or epoch comes near it.
LARGEST = 2**53 - 1

_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_DAY = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")


class MalformedPart(ValueError):
    """A part of a record that this program would not have written."""


def number(value: Any, least: int = 0, most: int = LARGEST) -> int:
    """A whole number; true and false do not count as numbers."""
    if type(value) is not int or not least <= value <= most:
        raise MalformedPart(f"expected a whole number from {least} to {most}")
    return value


def numbers(values: Any) -> list[int]:
    """A list of whole numbers; there may be thousands."""
    if type(values) is not list or not set(map(type, values)) <= {int}:
        raise MalformedPart("expected a list of whole numbers")
    if values:
        number(min(values)), number(max(values))
    return values


def moment(value: Any) -> int:
    """A time in ms since 1970, before the year 10000."""
    return number(value, most=LATEST_MS)


def text(value: Any) -> str:
    """A string."""
    if type(value) is not str:
        raise MalformedPart("expected a text")
    return value


def short(value: Any, most: int) -> str:
    """A string of at most ``most`` characters: it may be repeated in records that have little room."""
    if len(text(value)) > most:
        raise MalformedPart(f"expected a text of at most {most} characters")
    return str(value)


def flag(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise MalformedPart("expected true or false")
    return value


def day(value: Any) -> str:
    """A day (ISO 8601); days are compared as text."""
    if not _DAY.fullmatch(text(value)):
        raise MalformedPart("expected a day")
    return str(value)


def month(value: Any) -> str:
    """A month (ISO 8601)."""
    if not _MONTH.fullmatch(text(value)):
        raise MalformedPart("expected a month")
    return str(value)


def members(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if type(value) is not dict:
        raise MalformedPart("expected an object")
    return value


def entries(value: Any, read: Callable[[Any], _T]) -> list[_T]:
    """A list; ``read`` checks each entry."""
    if type(value) is not list:
        raise MalformedPart("expected a list")
    return [read(one) for one in value]


def few(value: Any, read: Callable[[Any], _T], most: int) -> list[_T]:
    """A list with at most ``most`` entries; ``read`` checks each."""
    if type(value) is list and len(value) > most:
        raise MalformedPart(f"expected at most {most} entries")
    return entries(value, read)


def optional(value: Any, read: Callable[[Any], _T]) -> _T | None:
    """Null, or a value that ``read`` checks."""
    return None if value is None else read(value)


def key_number(digits: str) -> int:
    """A number in a key. Only one spelling is accepted, because another spelling would be another key."""
    if not _NUMBER.fullmatch(digits):
        raise MalformedPart("expected a plain number in the key")
    return number(int(digits))
