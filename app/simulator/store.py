"""The rows of all data extensions, in memory. They are found by primary key, or by one key column without a scan."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from app.simulator.column_types import Value
from app.simulator.definitions import Catalogue, HeldDataExtension
from app.simulator.filters import Row

# The folded values of the primary key, so that two spellings of a key are the same row.
Key = tuple[Hashable, ...]
Values = Mapping[str, "Value | None"]


class StoredRow(NamedTuple):
    """A row: the text last sent for each column, and the held values.

    A column that was never set is in neither; a column with its default is in `values` only. None is an explicit null.
    """

    sent: Row
    values: Values


class Table:
    """Rows of one data extension, oldest first.

    A row is never changed in place: an update replaces it, so that the remaining pages of a Retrieve do not change.
    """

    def __init__(self, definition: HeldDataExtension) -> None:
        self.definition = definition
        self._rows: dict[Key, StoredRow] = {}
        # Key column -> value -> keys of its rows. Built at the first request for a column and then kept up to date. A
        # row's key values never change, so updates do not affect it.
        self._indexes: dict[str, dict[Hashable, dict[Key, None]]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> StoredRow | None:
        return self._rows.get(key)

    def put(self, key: Key, row: StoredRow) -> None:
        if key not in self._rows:
            for column, index in self._indexes.items():
                index.setdefault(self._part(key, column), {})[key] = None
        self._rows[key] = row

    def remove(self, key: Key) -> bool:
        """Removes a row; returns whether it existed."""
        if self._rows.pop(key, None) is None:
            return False
        for column, index in self._indexes.items():
            value = self._part(key, column)
            del index[value][key]
            if not index[value]:
                del index[value]
        return True

    def clear(self) -> None:
        self._rows.clear()
        self._indexes.clear()

    def candidates(self, required: Mapping[str, tuple[Hashable, ...]]) -> Iterator[StoredRow]:
        """All rows that hold one of the required values in every column, and perhaps others.

        `required`: column -> folded values, as filters.required_values() returns them. Columns without an index are
        ignored.
        """
        primary_key = self.definition.primary_key
        if all(len(required.get(column, ())) == 1 for column in primary_key):
            row = self._rows.get(tuple(required[column][0] for column in primary_key))
            if row is not None:
                yield row
            return
        column = next((column for column in primary_key if column in required), None)
        if column is None:
            yield from list(self._rows.values())
            return
        index = self._index(column)
        for value in dict.fromkeys(required[column]):
            yield from [self._rows[key] for key in index.get(value, ())]

    def _index(self, column: str) -> dict[Hashable, dict[Key, None]]:
        if column not in self._indexes:
            index: dict[Hashable, dict[Key, None]] = {}
            for key in self._rows:
                index.setdefault(self._part(key, column), {})[key] = None
            self._indexes[column] = index
        return self._indexes[column]

    def _part(self, key: Key, column: str) -> Hashable:
        return key[self.definition.primary_key.index(column)]


class RowStore:
    """All tables of one account."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._tables = {definition.customer_key: Table(definition) for definition in catalogue}

    def table(self, key_or_name: str) -> Table | None:
        """The table of a customer key or name; None if there is no such data extension."""
        definition = self.catalogue.find(key_or_name)
        return self._tables[definition.customer_key] if definition else None

    def tables(self) -> Iterator[Table]:
        return iter(self._tables.values())

    def clear(self) -> None:
        for table in self._tables.values():
            table.clear()
