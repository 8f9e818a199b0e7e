"""Checks the rows of an event against their data extensions and normalises them. Pure.

Columns get the data extension's spelling, and rows with the same key become one row, so that later steps need not deal
with spellings. The first fault ends the work, so that it is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from app.delivery.errors import (
    EVENT_COLUMN_TWICE,
    EVENT_FOREIGN_ROW,
    EVENT_MISSING_KEY_COLUMN,
    EVENT_UNKNOWN_COLUMN,
    ErrorEntry,
)
from app.profile.entities import CONSUMER_ID_COLUMN, DataExtension, EntityType, Row, Scalar
from app.profile.event_value import shown_name
from app.profile.keys import merged

# A message names at most this many unknown columns of a row.
COLUMNS_NAMED = 5
_PARENT = EntityType.CONSUMER  # looking it up in the class takes five times as long


class RowFault(ValueError):
    """A row cannot be processed; the text names columns, never values."""

    def __init__(self, entry: ErrorEntry, message: str) -> None:
        super().__init__(message)
        self.entry = entry
        self.message = message


def checked_rows(entity: EntityType, rows: Sequence[Row], consumer_id: str, table: DataExtension) -> Sequence[Row]:
    """The rows, normalised; ``rows`` itself if nothing has to change. A missing ``ConsumerId`` is not filled in.

    Raises:
        RowFault: with the first fault that was found.
    """
    checked = [checked_row(entity, row, consumer_id, table) for row in rows]
    one_each = merged(checked, table)
    unchanged = one_each is checked and all(new is old for new, old in zip(checked, rows, strict=True))
    return rows if unchanged else tuple(one_each)


def checked_row(entity: EntityType, row: Row, consumer_id: str, table: DataExtension) -> Row:
    """Like ``checked_rows``, for one row."""
    if not row.keys() <= table.names:
        row = _spelled_as_in(table, entity, row)
    own = row.get(CONSUMER_ID_COLUMN)
    if own is None and entity is not _PARENT and CONSUMER_ID_COLUMN not in row:
        own = consumer_id
    for column in table.primary_key:
        value = own if column == CONSUMER_ID_COLUMN else row.get(column)
        if value is None or value == "":
            raise RowFault(EVENT_MISSING_KEY_COLUMN, f"{entity.value}: {_missing(row, own, table)}")
    if own != consumer_id and str(own) != consumer_id:
        raise RowFault(EVENT_FOREIGN_ROW, f"{entity.value}: ConsumerId differs from consumerId")
    return row


def _missing(row: Row, own: Scalar, table: DataExtension) -> str:
    known = {**row, CONSUMER_ID_COLUMN: own}
    names = [column for column in table.primary_key if known.get(column) in (None, "")]
    return f"primary key {', '.join(names)} is missing or empty"


def _spelled_as_in(table: DataExtension, entity: EntityType, row: Row) -> Mapping[str, Scalar]:
    if unknown := list(islice((column for column in row if table.column(column) is None), COLUMNS_NAMED)):
        names = ", ".join(sorted({shown_name(column) for column in unknown}))
        raise RowFault(EVENT_UNKNOWN_COLUMN, f"{entity.value}: {table.customer_key} has no column {names}")
    spelled: dict[str, Scalar] = {}
    for name, value in row.items():
        column = table.column(name) or name
        if column in spelled:
            raise RowFault(EVENT_COLUMN_TWICE, f"{entity.value}: column {column} is given twice, in two spellings")
        spelled[column] = value
    return spelled
