"""Comparison of values that Marketing Cloud returned with wanted ones, and the form that equal values share. Pure.

Marketing Cloud returns every value as text, in its own spelling.

**If the type of the column is known** (DataExtensionField), both are read as values of that type.

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

A value that does not fit the column's type is compared **without a type**, as is every value while types are unknown:

| wanted                  | returned                                       | same?                        |
|-------------------------|------------------------------------------------|------------------------------|
| anything                | the text that would be sent                    | yes                          |
| null, ""                | null, ""                                       | yes, in any combination      |
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

If in doubt, values count as different: an unnecessary upsert does no harm, a missing one does. So a time with an
offset equals only the same spelling: the server's time zone is UTC-6 or UTC-7, depending on the tenant's stack, and two
different instants could look the same.

A returned value has no kind: "True" equals true, but not "true". So a form for hashing exists only together with the
``ValueKind`` of the wanted value: ``form(held, kind) == form(wanted, kind)`` exactly if ``same(held, wanted)``. The
kind of a date includes its spelling: two spellings of one moment both equal "9/21/2026 2:05:00 PM", but not each other.
Rare spellings are ``UNCHECKED``.
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
# The form in which dates are returned: US order, AM or PM, whole seconds ("Retrieve Data from a Data Extension").
_US_TIME = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})(?: (1[0-2]|0?[1-9]):([0-9]{2}):([0-9]{2}) ([AaPp])[Mm])?")
_ZONED_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]{1,9})?"
    r" ?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?(?=\.?[0-9])[0-9]{0,60}(?:\.[0-9]{0,60})?")
_EXACT = Context(prec=200)
# The texts that a Boolean column accepts (the vendor's page on imports).
_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "y", "t"), "=true"),
    **dict.fromkeys(("false", "0", "no", "n", "f"), "=false"),
}


# By type


def same_value(held: Scalar, wanted: Scalar, column: str, table: DataExtension) -> bool:
    """Whether a column's returned value certainly equals the wanted one; see the tables above."""
    kind = table.types.get(column)
    if kind is not None:
        one, other = typed_form(held, kind, table.zone), typed_form(wanted, kind, table.zone)
        if one is not None and other is not None:
            return one == other
    return same(held, wanted)


def same_key_value(held: Scalar, wanted: Scalar, column: str, table: DataExtension) -> bool:
    """Like ``same_value``, for a column of the primary key: case and trailing blanks do not matter."""
    if same_key_text(as_text(held) or "", as_text(wanted) or ""):
        return True
    return same_value(held, wanted, column, table)


def loosely_alike(value: Scalar, column: str, table: DataExtension) -> str:
    """One form for all values that a key column might treat as equal, by its type if that is known."""
    kind = table.types.get(column)
    if kind is not None:
        form_of = typed_form(value, kind, table.zone)
        if form_of is not None:
            return form_of.rstrip(" ").lower()
    return _loosely(as_text(value) or "")


def typed_form(value: Scalar, kind: ColumnType, zone: timezone) -> str | None:
    """One form for all spellings of a value in a column of this type; None: the value does not fit the type.

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
    """The time in the server's time zone, in whole seconds."""
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
    """Whether a returned value certainly equals the wanted one; see the table above.

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
    """The kinds of wanted values that ``same`` treats differently. The numbers stand in consumer records."""

    UNNAMED = 0  # the row does not name the column
    TEXT = 1  # also null
    BOOLEAN = 2
    NUMBER = 3
    DATE = 4  # "2026-09-21"
    TIME = 5  # "2026-09-21T14:05:00"
    SPACED_TIME = 6  # "2026-09-21 14:05:00"
    UNCHECKED = 7  # a time in any other spelling


# Looking up an enum member costs more than all other work for a text.
_TEXT, _BOOLEAN, _NUMERIC, _DATE, _TIME = (
    ValueKind.TEXT,
    ValueKind.BOOLEAN,
    ValueKind.NUMBER,
    ValueKind.DATE,
    ValueKind.TIME,
)
# Lengths of 2026-09-21, 2026-09-21T14:05:00 and 2026-09-21T14:05:00Z. The last one equals only the same spelling.
_OF_DATE, _OF_TIME, _WITH_ZULU = 10, 19, 20


def wanted_form(value: Scalar) -> tuple[ValueKind, str]:
    """The kind of a value that an event wants, and its ``form``.

    It runs for every value of every event. The explicit checks avoid the patterns, which cost ten times as much.
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
    """One form for all values that are equal if a value of this kind is wanted; see above.

    >>> form("1.50", ValueKind.NUMBER) == form(1.5, ValueKind.NUMBER)
    True
    >>> form("1.50", ValueKind.TEXT) == form("1.5", ValueKind.TEXT)
    False
    """
    text = as_text(value) or ""
    # The first character keeps the forms of different kinds apart.
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
    """Whether a key column of any type might treat both values as equal."""
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
    """One form for all texts that a column of any type might treat as equal: case, width, blanks, zeros, dates."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    if _NUMERIC_KEY.fullmatch(folded):
        whole, _, fraction = folded.partition(".")
        sign = "-" if whole.startswith("-") else ""
        return f"{sign}{whole.lstrip('+-0')}.{fraction.rstrip('0')}"
    when = _iso_time(folded) or _us_time(folded)
    return when.isoformat() if when else folded


def _number(text: str) -> tuple[str, str] | None:
    # Decimal would not do: its precision is limited, and texts may be long.
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
