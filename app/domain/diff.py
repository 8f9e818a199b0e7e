"""What differs between the rows that Marketing Cloud holds and those that an event wants. Pure.

Marketing Cloud returns every value as text, in a spelling of its own. What it returns is the same as what is wanted:

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

A key column is the same in another case and with other trailing blanks too (``app/domain/keys.py``): "p1" and "P1 " are
one row, and its values decide whether it is as it is wanted.

When in doubt they differ: an upsert that was not needed does no harm, one that is missing does. So a time with an
offset is the same only in the same spelling: the server's time zone is UTC-6 or UTC-7 by the tenant's stack, and two
different instants could look alike.

What is returned has no kind of its own: "True" is the same as true and is not the same as "true". So a form that can be
hashed exists only together with the ``Kind`` of the wanted value: ``form(held, kind) == form(wanted, kind)`` exactly
where ``same(held, wanted)``. Of a date it takes in how it is written, because each of two spellings of one moment is
the same as "9/21/2026 2:05:00 PM", and neither the same as the other. The rare spellings are ``UNCHECKED``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from app.domain.entities import Catalog, DataExtension, EntityType, Row, Scalar, as_text
from app.domain.keys import Key, key_of, merged, same_key_text

EntityRow = tuple[EntityType, Row]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NUMERIC_KEY = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_ISO_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.0+)?)?)?")
# How dates are returned: US order, AM or PM, whole seconds ("Retrieve Data from a Data Extension").
_US_TIME = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})(?: (1[0-2]|0?[1-9]):([0-9]{2}):([0-9]{2}) ([AaPp])[Mm])?")


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to be done, in writing order; ``upserts`` and ``right`` together are the wanted rows.

    right: rows that are held as they are wanted.
    respelled: primary keys, as they are held, of rows whose key may be a wanted one in another spelling ("007" and "7"
        are one key in a Number column, and two in a Text column). They must be deleted before the upserts.
    vanished: primary keys, as they are held, of the other rows that are not wanted; to be deleted after the upserts.
    """

    upserts: tuple[EntityRow, ...] = ()
    right: tuple[EntityRow, ...] = ()
    respelled: tuple[EntityRow, ...] = ()
    vanished: tuple[EntityRow, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether all is as it should be."""
        return not (self.upserts or self.respelled or self.vanished)


def diff(
    held: Mapping[EntityType, Sequence[Row]], wanted: Sequence[EntityRow], catalog: Catalog, *, anew: bool = False
) -> Difference:
    """Compare all rows of a consumer.

    A column that a wanted row does not name is left alone, as an upsert leaves it alone; but see ``anew``. A parent row
    never vanishes.

    Args:
        held: the rows of each entity type; of a type that is not in it nothing is known, so its rows are upserted.
        wanted: rows of any types; those of one key (see ``keys.merged``) count as one row.
        anew: entity rows, not the parent, are to be as if they had been deleted and posted: a column that a wanted row
            does not name is emptied, with a null in its upsert. (Not even then is it given its default value.)
    """
    parts = [
        _diff_of(
            entity,
            catalog[entity],
            held.get(entity, ()),
            [row for of, row in wanted if of is entity],
            anew=anew and not entity.is_parent,
        )
        for entity in EntityType
    ]
    return Difference(
        upserts=tuple(row for part in parts for row in part.upserts),
        right=tuple(row for part in parts for row in part.right),
        respelled=tuple(key for part in parts for key in part.respelled),
        vanished=tuple(key for part in parts for key in part.vanished),
    )


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


class Kind(IntEnum):
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
_TEXT, _BOOLEAN, _NUMERIC, _DATE, _TIME = Kind.TEXT, Kind.BOOLEAN, Kind.NUMBER, Kind.DATE, Kind.TIME
# Characters of 2026-09-21, 2026-09-21T14:05:00 and 2026-09-21T14:05:00Z, which is the same in that spelling only.
_OF_DATE, _OF_TIME, _WITH_ZULU = 10, 19, 20


def wanted_form(value: Scalar) -> tuple[Kind, str]:
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


def form(value: Scalar, kind: Kind) -> str:
    """The one form of all values that are the same as each other when one of this kind is wanted; see above.

    >>> form("1.50", Kind.NUMBER) == form(1.5, Kind.NUMBER), form("1.50", Kind.TEXT) == form("1.5", Kind.TEXT)
    (True, False)
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


def _kind_of_time(text: str) -> Kind:
    if _iso_time(text) is None:
        return _TEXT
    match len(text), text[10:11]:
        case 10, _:  # _OF_DATE, _OF_TIME
            return _DATE
        case 19, "T":
            return _TIME
        case 19, " ":
            return Kind.SPACED_TIME
        case _:
            return Kind.UNCHECKED


def same_row(held: Row, wanted: Row, table: DataExtension) -> bool:
    """Whether both certainly have one key."""
    return all(
        same_key_text(as_text(held.get(column)) or "", as_text(wanted[column]) or "")
        or same(held.get(column), wanted[column])
        for column in table.primary_key
    )


def _diff_of(
    entity: EntityType, table: DataExtension, held: Sequence[Row], wanted: Sequence[Row], *, anew: bool
) -> Difference:
    candidates: dict[Key, list[Row]] = {}
    for row in held:
        candidates.setdefault(_loose_key(row, table), []).append(row)
    rows = merged(wanted, table)
    found: set[int] = set()
    upserts, right = [], []
    for row in rows:
        same_rows = [c for c in candidates.get(_loose_key(row, table), ()) if same_row(c, row, table)]
        found |= {id(c) for c in same_rows}
        there = same_rows[0] if same_rows else None
        emptied = (
            {column: None for column in table.columns if there.get(column) and column not in row}
            if anew and there
            else {}
        )
        if there is not None and not emptied and _says(there, row, table):
            right.append((entity, row))
        else:
            upserts.append((entity, {**row, **emptied}))
    unlisted = [row for row in held if id(row) not in found and not entity.is_parent]
    doubtful = {_loose_key(row, table) for row in rows}

    def keys(respelled: bool) -> tuple[EntityRow, ...]:
        of_these = (row for row in unlisted if (_loose_key(row, table) in doubtful) is respelled)
        return tuple((entity, table.key_of(row)) for row in of_these)

    return Difference(
        upserts=tuple(upserts), right=tuple(right), respelled=keys(respelled=True), vanished=keys(respelled=False)
    )


def _says(held: Row, wanted: Row, table: DataExtension) -> bool:
    """Whether a held row of that key has the wanted values."""
    return all(same(held.get(column), value) for column, value in wanted.items() if column not in table.primary_key)


def _loose_key(row: Row, table: DataExtension) -> Key:
    return tuple(map(_loosely, key_of(row, table)))


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
