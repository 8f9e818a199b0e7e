"""The types of data extensions' columns, and the time zone in which an account returns dates. Pure.

Marketing Cloud describes the type of a column in DataExtensionField (FieldType, MaxLength, Scale). It returns dates in
its server's time: UTC-6 all year (vendor page on time zones; UTC-7 in one stack).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta, timezone
from enum import StrEnum

DEFAULT_TIME_ZONE = "UTC-6"
TIME_ZONE_PATTERN = r"^UTC(?:[+-](?:[0-9]|0[0-9]|1[0-4])(?::[0-5][0-9])?)?$"
_TYPE = re.compile(r"([A-Za-z]+)(?:\(([0-9]{1,5})(?:, ?([0-9]{1,2}))?\))?")
_TIME_ZONE = re.compile(r"UTC(?:([+-])([0-9]{1,2})(?::([0-9]{2}))?)?")


class FieldType(StrEnum):
    """The type of a column's values, in the words of DataExtensionField."""

    TEXT = "Text"
    NUMBER = "Number"
    DECIMAL = "Decimal"
    DATE = "Date"
    BOOLEAN = "Boolean"
    EMAIL = "EmailAddress"
    PHONE = "Phone"
    LOCALE = "Locale"

    @property
    def is_text(self) -> bool:
        """Whether values are returned exactly as they were sent."""
        return self in _TEXTS


_TEXTS = frozenset((FieldType.TEXT, FieldType.EMAIL, FieldType.PHONE, FieldType.LOCALE))


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column. ``length``: characters of a text or digits of a decimal; None: the limit is not known."""

    field_type: FieldType
    length: int | None = None
    scale: int = 0

    def __str__(self) -> str:
        if self.field_type is FieldType.DECIMAL:
            return f"{self.field_type}" if self.length is None else f"{self.field_type}({self.length},{self.scale})"
        return f"{self.field_type}" if self.length is None else f"{self.field_type}({self.length})"


ColumnTypes = Mapping[str, ColumnType]


def column_type(text: str) -> ColumnType:
    """Read a type as the configuration writes it.

    Raises:
        ValueError: not a type.

    >>> str(column_type("Text(200)")), str(column_type("Decimal(8,2)")), str(column_type("Date"))
    ('Text(200)', 'Decimal(8,2)', 'Date')
    """
    found = _TYPE.fullmatch(text)
    if found is None:
        raise ValueError("must be a type such as Text(200)")
    name, length, scale = found.groups()
    return ColumnType(FieldType(name), int(length) if length else None, int(scale or 0))


@dataclass(frozen=True, slots=True)
class Field:
    """A column as Marketing Cloud describes it. ``type``: None if this program does not know the type."""

    name: str
    type: ColumnType | None
    required: bool = False
    primary_key: bool = False
    has_default: bool = False


def time_zone(text: str) -> timezone:
    """Read a fixed offset from UTC.

    Raises:
        ValueError: not an offset from UTC.

    >>> [str(time_zone(text)) for text in ("UTC-6", "UTC+5:30", "UTC")]
    ['UTC-06:00', 'UTC+05:30', 'UTC']
    """
    found = _TIME_ZONE.fullmatch(text)
    if found is None or not re.fullmatch(TIME_ZONE_PATTERN[1:-1], text):
        raise ValueError("must be an offset from UTC such as UTC-6, UTC+5:30 or UTC")
    sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return timezone(-offset if sign == "-" else offset)
