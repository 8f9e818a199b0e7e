"""Which data extensions the simulator holds: keys, names, primary keys, columns and their types."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import orjson

from app.simulator.column_types import UNTYPED, HeldColumnType, TypeSpecError, column_type

# The entity whose first key column names the consumer, and the name of that column if there is no such entity.
CONSUMER_ENTITY = "consumer"
CONSUMER_COLUMN = "ConsumerId"

# Vendor page on time zones: the server's clock is UTC-6 all year.
SERVER_ZONE = timezone(timedelta(hours=-6))

# The data extension (customer key) and the consumer of a call, as far as it names them.
Target = tuple[str | None, str | None]


class DefinitionError(ValueError):
    """The data-extensions file cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class HeldDataExtension:
    """One data extension. Column names are looked up without regard to case, as Marketing Cloud does.

    `types` has an entry for every column. A new row must have a value, its own or the default, in all columns of
    `complete_rows`.
    """

    entity: str
    customer_key: str
    name: str
    primary_key: tuple[str, ...]
    columns: tuple[str, ...]
    object_id: str
    by_lower_name: Mapping[str, str] = field(repr=False)
    types: Mapping[str, HeldColumnType] = field(repr=False)
    complete_rows: tuple[str, ...] = field(repr=False)

    def column(self, name: str) -> str | None:
        """The defined spelling of a column; None if there is no such column."""
        if name in self.by_lower_name:
            return self.by_lower_name[name]
        return self.by_lower_name.get(name.lower())


class Catalogue:
    """All data extensions, found by customer key or by name (clients use either)."""

    def __init__(self, extensions: list[HeldDataExtension]) -> None:
        self._extensions = extensions
        self._found: dict[str, HeldDataExtension] = {}
        for extension in extensions:
            self._found.setdefault(extension.name.lower(), extension)
        # A customer key takes precedence over an equal name of another data extension.
        self._found |= {extension.customer_key.lower(): extension for extension in extensions}
        self._found |= {extension.customer_key: extension for extension in extensions}
        consumer = next((e for e in extensions if e.entity == CONSUMER_ENTITY), None)
        self.consumer_column = consumer.primary_key[0] if consumer else CONSUMER_COLUMN

    def find(self, key_or_name: str) -> HeldDataExtension | None:
        return self._found.get(key_or_name) or self._found.get(key_or_name.lower())

    def __iter__(self) -> Iterator[HeldDataExtension]:
        return iter(self._extensions)


def read_catalogue(source: Path | Mapping[str, Any], zone: timezone = SERVER_ZONE) -> Catalogue:
    """Reads the data-extensions format: `{"dataExtensions": {entity: {customerKey, name?, primaryKey, columns, ...}}}`.

    A column that `types` does not name is untyped: it accepts any text and returns it unchanged.

    Raises DefinitionError if the file is missing or not JSON, or if an entry is incomplete.
    """
    document: Any = source
    if isinstance(source, Path):
        try:
            document = orjson.loads(source.read_bytes())
        except OSError as error:
            raise DefinitionError(f"data extensions: cannot read {source}: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise DefinitionError(f"data extensions: {source} is not JSON: {error}") from error
    entries = document.get("dataExtensions") if isinstance(document, Mapping) else None
    if not isinstance(entries, Mapping) or not entries:
        raise DefinitionError('data extensions: expected {"dataExtensions": {entity: {customerKey, ...}}}')
    return Catalogue([_extension(str(entity), entry, zone) for entity, entry in entries.items()])


def read_zone(text: str) -> timezone:
    """A fixed offset from UTC: `UTC-6`, `UTC+5:30`, `UTC`. Raises DefinitionError."""
    found = re.fullmatch(r"UTC(?:(?P<sign>[+-])(?P<hours>[0-9]{1,2})(?::(?P<minutes>[0-5][0-9]))?)?", text.strip())
    if found is None or int(found["hours"] or 0) > 14:
        raise DefinitionError(f"{text!r} is no time zone such as UTC-6 or UTC+5:30")
    distance = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    return timezone(-distance if found["sign"] == "-" else distance)


def _extension(entity: str, entry: Any, zone: timezone) -> HeldDataExtension:
    where = f"data extensions: entity {entity!r}"
    if not isinstance(entry, Mapping):
        raise DefinitionError(f"{where}: expected an object with customerKey, primaryKey and columns")
    key = entry.get("customerKey")
    if not isinstance(key, str) or not key:
        raise DefinitionError(f"{where}: customerKey is missing")
    columns = _names(entry.get("columns"), f"{where}: columns")
    primary_key = _names(entry.get("primaryKey"), f"{where}: primaryKey")
    missing = [column for column in primary_key if column not in columns]
    if missing:
        raise DefinitionError(f"{where}: primary-key columns {missing} are not among the columns")
    types = entry.get("types", {})
    if not isinstance(types, Mapping):
        raise DefinitionError(f"{where}: types must be an object with column names and their types")
    if unknown := [column for column in types if column not in columns]:
        raise DefinitionError(f"{where}: types names {unknown}, which are not among the columns")
    kinds = {column: _type(types.get(column), zone, f"{where}: types: {column}") for column in columns}
    return HeldDataExtension(
        entity=entity,
        customer_key=key,
        name=str(entry.get("name") or key),
        primary_key=primary_key,
        columns=columns,
        object_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"data-extension:{key}")),
        by_lower_name={column.lower(): column for column in columns} | {column: column for column in columns},
        types=kinds,
        complete_rows=tuple(name for name in columns if kinds[name].required or kinds[name].default is not None),
    )


def _type(spec: Any, zone: timezone, where: str) -> HeldColumnType:
    if spec is None:
        return UNTYPED
    try:
        return column_type(spec, zone)
    except TypeSpecError as error:
        raise DefinitionError(f"{where}: {error}") from None


def _names(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        raise DefinitionError(f"{what} must be a list of names that is not empty")
    return tuple(value)
