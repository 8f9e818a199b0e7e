"""The parts of a durable record, checked as they are read: others may write into the topics of the state too. Pure.

Every reader raises ``UnlikeOurs`` for what this program would not have written. What passes can be used everywhere: as
an offset, a date, in SQLite, in JSON. No message repeats content.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from app.delivery.record import LATEST_MS

_T = TypeVar("_T")

# Every JSON reader holds so large a whole number exactly; no offset or epoch comes near it.
LARGEST = 2**53 - 1

_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")
_DAY = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])")


class UnlikeOurs(ValueError):
    """A part of a record that this program does not write."""


def number(value: Any, least: int = 0, most: int = LARGEST) -> int:
    """A whole number; true and false are none."""
    if type(value) is not int or not least <= value <= most:
        raise UnlikeOurs(f"no whole number from {least} to {most} where one should be")
    return value


def numbers(values: Any) -> list[int]:
    """A list of whole numbers; there may be thousands."""
    if type(values) is not list or not set(map(type, values)) <= {int}:
        raise UnlikeOurs("no list of whole numbers where one should be")
    if values:
        number(min(values)), number(max(values))
    return values


def moment(value: Any) -> int:
    """A time in ms since 1970, before the year 10000."""
    return number(value, most=LATEST_MS)


def text(value: Any) -> str:
    """A text."""
    if type(value) is not str:
        raise UnlikeOurs("no text where one should be")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise UnlikeOurs("neither true nor false where one should be")
    return value


def day(value: Any) -> str:
    """A day (ISO 8601), which is compared as a text."""
    if not _DAY.fullmatch(text(value)):
        raise UnlikeOurs("no day where one should be")
    return str(value)


def month(value: Any) -> str:
    """A month (ISO 8601)."""
    if not _MONTH.fullmatch(text(value)):
        raise UnlikeOurs("no month where one should be")
    return str(value)


def members(value: Any) -> dict[str, Any]:
    """An object."""
    if type(value) is not dict:
        raise UnlikeOurs("no object where one should be")
    return value


def entries(value: Any, kind: Callable[[Any], _T]) -> list[_T]:
    """A list whose entries are all of a kind."""
    if type(value) is not list:
        raise UnlikeOurs("no list where one should be")
    return [kind(one) for one in value]


def optional(value: Any, kind: Callable[[Any], _T]) -> _T | None:
    """Null, or one of a kind."""
    return None if value is None else kind(value)


def key_number(digits: str) -> int:
    """A number in a key, in the one spelling that there is: other spellings would be other keys."""
    if not _NUMBER.fullmatch(digits):
        raise UnlikeOurs("no plain number in the key")
    return number(int(digits))
