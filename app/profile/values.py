"""When a value that Marketing Cloud returned is the one that is wanted, and the form that such values share. Pure.

Marketing Cloud returns every value as text, in a spelling of its own.

**The type of the column is known** (DataExtensionField): both are read as values of that type.

| type                        | the same value                                                                         |
|-----------------------------|----------------------------------------------------------------------------------------|
| Text, EmailAddress, Phone,  | the text that was sent                                                                 |
| Locale                      |                                                                                        |
| Number                      | the same integer: 7, "7", "007"                                                        |
| Decimal(p,s)                | the same number rounded to s digits, halves away from zero: 12.345 and "12.35"         |
| Boolean                     | true, "True", "1", "yes", "y", "t"; false, "False", "0", "no", "n", "f"                |
| Date                        | the same second in the account's time zone: "2026-09-21T14:05:00.7Z" and               |
|                             | "9/21/2026 8:05:00 AM" (UTC-6); a time without a zone is the server's                  |
| any                         | null and ""                                                                            |

A value that is none of the column's type, and every value while types are not known, is compared **without a type**:

| wanted                  | returned                                       | same?                        |
|-------------------------|------------------------------------------------|------------------------------|
| anything                | the text that would be sent                    | yes                          |
| null, ""                | null, ""                                       | yes, each with each          |
| null, ""                | " "                                            | no                           |
| true                    | "True", "TRUE"                                 | yes                          |
| true                    | "1", "Yes"                                     | no                           |
| "true"                  | "True"                                         | no: it may be a text column  |
| 1.5, 1.50               | "1.5", "1.50", "1.5000"                        | yes                          |
| 7                       | "7.0"                                          | yes                          |
| 7                       | "007", "7,0", "+7", "7e0"                      | no                           |
| "1.5"                   | "1.50"                                         | no: it may be a text column  |
| "2026-09-21"            | "9/21/2026 12:00:00 AM", "9/21/2026"           | yes                          |
| "2026-09-21T14:05:00"   | "9/21/2026 2:05:00 PM"                         | yes                          |
| "2026-09-21 14:05:00"   | "9/21/2026 2:05:00 PM"                         | yes                          |
| "2026-09-21T14:05:00.5" | "9/21/2026 2:05:00 PM"                         | no: it returns whole seconds |
| "2026-09-21T14:05:00Z"  | "9/21/2026 8:05:00 AM", "9/21/2026 2:05:00 PM" | no: see below                |
| "3/4/2026"              | "3/4/2026 12:00:00 AM"                         | no: may be April             |
| "Anna"                  | "anna", "Anna "                                | no                           |

When in doubt they differ: an upsert that was not needed does no harm, one that is missing does. So a time with an
offset is the same only in the same spelling: the server's time zone is UTC-6 or UTC-7 by the tenant's stack, and two
different instants could look alike.

What is returned has no kind of its own: "True" is the same as true and is not the same as "true". So a form that can be
hashed exists only together with the ``ValueKind`` of the wanted value: ``form(held, kind) == form(wanted, kind)``
exactly where ``same(held, wanted)``. Of a date it takes in how it is written, because each of two spellings of one
moment is the same as "9/21/2026 2:05:00 PM", and neither the same as the other. The rare spellings are ``UNCHECKED``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import IntEnum
from functools import lru_cache

from app.profile.column_types import ColumnType, FieldType
from app.profile.entities import DataExtension, Scalar, as_text
from app.profile.keys import same_key_text

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NUMERIC_KEY = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_ISO_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.0+)?)?)?")
# How dates are returned: US order, AM or PM, whole seconds ("Retrieve Data from a Data Extension").
_US_TIME = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})(?: (1[0-2]|0?[1-9]):([0-9]{2}):([0-9]{2}) ([AaPp])[Mm])?")
_ZONED_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]{1,9})?"
    r" ?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?(?=\.?[0-9])[0-9]{0,60}(?:\.[0-9]{0,60})?")
_EXACT = Context(prec=200)
# What a Boolean column takes, by the vendor's page on imports.
_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "y", "t"), "=true"),
    **dict.fromkeys(("false", "0", "no", "n", "f"), "=false"),
}


# By type


def same_value(held: Scalar, wanted: Scalar, column: str, table: DataExtension) -> bool:
    """Whether a value that was returned for a column is certainly the wanted one; see the tables above."""
    kind = table.types.get(column)
    if kind is not None:
        one, other = typed_form(held, kind, table.zone), typed_form(wanted, kind, table.zone)
        if one is not None and other is not None:
            return one == other
    return same(held, wanted)


def same_key_value(held: Scalar, wanted: Scalar, column: str, table: DataExtension) -> bool:
    """As ``same_value`` for a column of the primary key, which knows neither case nor trailing blanks."""
    if same_key_text(as_text(held) or "", as_text(wanted) or ""):
        return True
    return same_value(held, wanted, column, table)


def loosely_alike(value: Scalar, column: str, table: DataExtension) -> str:
    """The same for all values that a key column might take for one: for those of its type, if that is known."""
    kind = table.types.get(column)
    if kind is not None:
        form_of = typed_form(value, kind, table.zone)
        if form_of is not None:
            return form_of.rstrip(" ").lower()
    return _loosely(as_text(value) or "")


def typed_form(value: Scalar, kind: ColumnType, zone: timezone) -> str | None:
    """The one form of all spellings of a value in a column of this type; None: it is no value of that type.

    >>> typed_form("007", ColumnType(FieldType.NUMBER), timezone.utc)
    '#7'
    """
    text = value if type(value) is str else as_text(value) or ""
    if not text:
        return "="
    return _FORMS[kind.field_type](text, kind, zone)


def _text_form(text: str, kind: ColumnType, zone: timezone) -> str | None:
    return "=" + text


def _number_form(text: str, kind: ColumnType, zone: timezone) -> str | None:
    plain = text.strip()
    if not plain:
        return "="
    return f"#{int(plain)}" if _INTEGER.fullmatch(plain) else None


def _decimal_form(text: str, kind: ColumnType, zone: timezone) -> str | None:
    plain = text.strip()
    if not plain:
        return "="
    if not _DECIMAL.fullmatch(plain):
        return None
    number = Decimal(plain).quantize(Decimal(1).scaleb(-kind.scale), ROUND_HALF_UP, _EXACT)
    return f"#{number if number else abs(number):f}"


def _boolean_form(text: str, kind: ColumnType, zone: timezone) -> str | None:
    plain = text.strip().lower()
    return _BOOLEANS.get(plain) if plain else "="


@lru_cache(maxsize=4096)
def _date_form(text: str, kind: ColumnType, zone: timezone) -> str | None:
    plain = text.strip()
    if not plain:
        return "="
    moment = _us_time(plain) or _iso_time(plain) or _zoned_time(plain, zone)
    return None if moment is None else f"@{moment.isoformat()}"


def _zoned_time(text: str, zone: timezone) -> datetime | None:
    """In the server's time, whole seconds."""
    found = _ZONED_TIME.fullmatch(text)
    if found is None:
        return None
    day, time, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{(offset or '').upper()}")
        return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


_FORMS: dict[FieldType, Callable[[str, ColumnType, timezone], str | None]] = {
    FieldType.NUMBER: _number_form,
    FieldType.DECIMAL: _decimal_form,
    FieldType.BOOLEAN: _boolean_form,
    FieldType.DATE: _date_form,
    **dict.fromkeys((kind for kind in FieldType if kind.is_text), _text_form),
}


# Without a type


def same(held: Scalar, wanted: Scalar) -> bool:
    """Whether a value that Marketing Cloud returned is certainly the wanted one; see the table above.

    >>> same("True", True), same("1.50", 1.5), same("9/21/2026 12:00:00 AM", "2026-09-21"), same("", None)
    (True, True, True, True)
    """
    there, text = as_text(held) or "", as_text(wanted) or ""
    if there == text or not there or not text:
        return there == text
    if isinstance(wanted, bool):
        return there.casefold() == text
    if not isinstance(wanted, str):
        return _number(there) is not None and _number(there) == _number(text)
    return _iso_time(text) is not None and _iso_time(text) == _us_time(there)


class ValueKind(IntEnum):
    """What a wanted value is, as far as ``same`` tells values apart. The numbers stand in consumers' records."""

    UNNAMED = 0  # no value: the column is not named
    TEXT = 1  # also null
    BOOLEAN = 2
    NUMBER = 3
    DATE = 4  # "2026-09-21"
    TIME = 5  # "2026-09-21T14:05:00"
    SPACED_TIME = 6  # "2026-09-21 14:05:00"
    UNCHECKED = 7  # a time in any other spelling


# Looking a member up in its class costs more than all else that is done for a text.
_TEXT, _BOOLEAN, _NUMERIC, _DATE, _TIME = (
    ValueKind.TEXT,
    ValueKind.BOOLEAN,
    ValueKind.NUMBER,
    ValueKind.DATE,
    ValueKind.TIME,
)
# Characters of 2026-09-21, 2026-09-21T14:05:00 and 2026-09-21T14:05:00Z, which is the same in that spelling only.
_OF_DATE, _OF_TIME, _WITH_ZULU = 10, 19, 20


def wanted_form(value: Scalar) -> tuple[ValueKind, str]:
    """The kind of a value that an event wants, and its ``form``.

    Runs for every value of every event: what is written out here spares the patterns, which cost ten times as much.
    """
    if isinstance(value, str):
        if value[4:5] != "-" or (length := len(value)) == _WITH_ZULU:
            return _TEXT, "=" + value
        try:
            if length == _OF_DATE and value[7] == "-":
                datetime.fromisoformat(value)
                return _DATE, f"@{value}T00:00:00"
            if length == _OF_TIME and value[7] == "-" and value[10] == "T" and value[13] == value[16] == ":":
                datetime.fromisoformat(value)
                return _TIME, "@" + value
        except ValueError:
            return _TEXT, "=" + value
        kind = _kind_of_time(value)
    elif value is None:
        return _TEXT, "="
    elif isinstance(value, bool):
        return _BOOLEAN, "=true" if value else "=false"
    elif isinstance(value, int):
        return _NUMERIC, f"#{value}."
    else:
        kind = _NUMERIC
    return kind, form(value, kind)


def form(value: Scalar, kind: ValueKind) -> str:
    """The one form of all values that are the same as each other when one of this kind is wanted; see above.

    >>> form("1.50", ValueKind.NUMBER) == form(1.5, ValueKind.NUMBER)
    True
    >>> form("1.50", ValueKind.TEXT) == form("1.5", ValueKind.TEXT)
    False
    """
    text = as_text(value) or ""
    # The first character keeps a form from being read as that of another text.
    if kind is _TEXT:
        return "=" + text
    if kind is _BOOLEAN:
        return "=" + text.casefold()
    if kind is _NUMERIC:
        number = _number(text)
        return "=" + text if number is None else f"#{number[0]}.{number[1]}"
    when = _us_time(text) or (_iso_time(text) if _kind_of_time(text) is kind else None)
    return "=" + text if when is None else f"@{when.isoformat()}"


def alike(one: Scalar, other: Scalar) -> bool:
    """Whether a column of some type might take both for one value, as keys are told apart."""
    return _loosely(as_text(one) or "") == _loosely(as_text(other) or "")


def _kind_of_time(text: str) -> ValueKind:
    if _iso_time(text) is None:
        return _TEXT
    match len(text), text[10:11]:
        case 10, _:  # _OF_DATE, _OF_TIME
            return _DATE
        case 19, "T":
            return _TIME
        case 19, " ":
            return ValueKind.SPACED_TIME
        case _:
            return ValueKind.UNCHECKED


def _loosely(text: str) -> str:
    """The same for all texts that a column of any type might take for one: case, width, blanks, zeros, date formats."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    if _NUMERIC_KEY.fullmatch(folded):
        whole, _, fraction = folded.partition(".")
        sign = "-" if whole.startswith("-") else ""
        return f"{sign}{whole.lstrip('+-0')}.{fraction.rstrip('0')}"
    when = _iso_time(folded) or _us_time(folded)
    return when.isoformat() if when else folded


def _number(text: str) -> tuple[str, str] | None:
    # Not Decimal: its arithmetic has a precision, and texts may be long.
    if _NUMBER.fullmatch(text) is None:
        return None
    whole, _, fraction = text.partition(".")
    return whole, fraction.rstrip("0")


def _iso_time(text: str) -> datetime | None:
    found = _ISO_TIME.fullmatch(text)
    return found and _time(*(int(part or 0) for part in found.groups()))


def _us_time(text: str) -> datetime | None:
    if (found := _US_TIME.fullmatch(text)) is None:
        return None
    month, day, year, hour, minute, second, half = found.groups()
    hours = int(hour or 0) % 12 + (12 if half in ("P", "p") else 0)
    return _time(int(year), int(month), int(day), hours, int(minute or 0), int(second or 0))


def _time(*parts: int) -> datetime | None:
    try:
        return datetime(*parts)  # type: ignore[arg-type]
    except ValueError:
        return None
