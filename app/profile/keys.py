"""Comparison of keys. Pure.

Marketing Cloud keeps rows in SQL Server, which compares texts without regard to case and trailing blanks: "P1", "p1"
and "p1 " are the same row. All comparisons of keys are made here. A key that is stored or sent keeps its spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from app.delivery.counts import RowKey
from app.profile.entities import CONSUMER_ID_COLUMN, DataExtension, EntityType, Row, as_text

Key = tuple[str, ...]
Item = TypeVar("Item")


def folded(text: str) -> str:
    """One form for all spellings of a key column's value.

    >>> folded("P1 ") == folded("p1"), folded(" p1") == folded("p1")
    (True, False)
    """
    return text.rstrip(" ").lower()


def folded_key(parts: Iterable[str]) -> Key:
    """One form for all spellings of a key."""
    return tuple(map(folded, parts))


def same_key_text(one: str, other: str) -> bool:
    """Whether both texts are the same in a key column."""
    return one == other or folded(one) == folded(other)


def key_of(row: Row, table: DataExtension) -> Key:
    """A row's primary key in its own spelling; a missing part is empty."""
    return tuple([as_text(row.get(column)) or "" for column in table.primary_key])


def key_within_consumer(row: Row, table: DataExtension) -> Key:
    """Like ``key_of``, without ``ConsumerId``: the part that distinguishes the rows of one consumer."""
    return tuple([as_text(row.get(column)) or "" for column in table.primary_key if column != CONSUMER_ID_COLUMN])


def identity(entity: EntityType, row: Row, table: DataExtension) -> RowKey:
    """Identifies a row within its consumer, whatever the spelling of its key; see ``deleted_since``."""
    return entity.value, folded_key(key_within_consumer(row, table))


def merged(rows: Sequence[Row], table: DataExtension) -> Sequence[Row]:
    """Rows of one consumer, with rows of the same key merged into the first of them; later values win."""
    if len(rows) < 2:
        return rows
    columns = [column for column in table.primary_key if column != CONSUMER_ID_COLUMN]
    if len(columns) == 1:  # nearly every data extension
        (column,) = columns
        keys: list[object] = [folded(as_text(row.get(column)) or "") for row in rows]
    else:
        keys = [folded_key(key_within_consumer(row, table)) for row in rows]
    if len(set(keys)) == len(rows):
        return rows
    by_key: dict[object, Row] = {}
    for key, row in zip(keys, rows, strict=True):
        by_key[key] = {**by_key[key], **row} if key in by_key else row
    return tuple(by_key.values())


def spellings(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The names that Marketing Cloud treats as the same although they are spelled differently, by folded form.

    >>> spellings(["C-1", "c-2", "c-1 "])
    {'c-1': ('C-1', 'c-1 ')}
    """
    first: dict[str, str] = {}
    several: dict[str, tuple[str, ...]] = {}
    for name in names:
        form = folded(name)
        if first.setdefault(form, name) != name:
            several[form] = (*several.get(form, (first[form],)), name)
    return several


def batches(items: Iterable[Item], size: int, identity_of: Callable[[Item], object]) -> Iterator[tuple[Item, ...]]:
    """Batches of consecutive items, at most ``size`` each, without a key twice: such a request may fail.

    >>> list(batches(["a", "b", "A", "c"], 3, folded))
    [('a', 'b'), ('A', 'c')]
    """
    batch: list[Item] = []
    identities: set[object] = set()
    for item in items:
        which = identity_of(item)
        if len(batch) == size or which in identities:
            yield tuple(batch)
            batch, identities = [], set()
        batch.append(item)
        identities.add(which)
    if batch:
        yield tuple(batch)
