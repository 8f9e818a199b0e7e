"""Entity types of a consumer profile and the data extensions that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

Scalar = str | int | float | Decimal | bool | None
Row = Mapping[str, Scalar]


# Nothing that a data extension holds has more digits than this before or after the point (38 at most); written out in
# full, a number such as 1E+999999999 would fill the memory.
_PLAIN_DIGITS = 100


def as_text(value: Scalar) -> str | None:
    """A value as the SOAP wire carries it, where every property is text: JSON's spelling; None stays None.

    >>> [as_text(value) for value in (True, 80, Decimal("12.50"), Decimal("1E+2"), "yes", None)]
    ['true', '80', '12.50', '100', 'yes', None]
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) <= _PLAIN_DIGITS:
        return format(value, "f")
    return str(value)


class EntityType(StrEnum):
    """The parent (``consumer``) and the entities below it, in the order in which they are written."""

    CONSUMER = "consumer"
    CONTACT = "contact"
    CHILD = "child"
    PET = "pet"
    DIGITAL_ASSET = "digitalAsset"
    INTEREST = "interest"
    OPT_IN = "optIn"

    @property
    def is_parent(self) -> bool:
        return self is EntityType.CONSUMER


CHILD_TYPES: tuple[EntityType, ...] = tuple(entity for entity in EntityType if not entity.is_parent)

# Every data extension carries it; a child row of an event may leave it out.
CONSUMER_ID_COLUMN = "ConsumerId"


@dataclass(frozen=True, slots=True)
class DataExtension:
    """One table of Marketing Cloud: its CustomerKey, its primary key and all its columns."""

    customer_key: str
    primary_key: tuple[str, ...]
    columns: tuple[str, ...]

    def key_of(self, row: Row) -> Row:
        """The primary-key columns of a row, in the data extension's order."""
        return {column: row[column] for column in self.primary_key}


@dataclass(frozen=True, slots=True)
class Catalog:
    """The data extension of every entity type: configuration, see ``data-extensions.json``."""

    data_extensions: Mapping[EntityType, DataExtension]

    def __getitem__(self, entity: EntityType) -> DataExtension:
        return self.data_extensions[entity]


class CatalogError(ValueError):
    """A data-extensions file cannot be used; the text says where and why."""


def parse_catalog(text: str | bytes) -> Catalog:
    """Read a data-extensions file.

    Raises:
        CatalogError: not JSON, an entity type missing or unknown, or a primary key outside the columns.
    """
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise CatalogError(f"not JSON: {error}") from None
    tables = document.get("dataExtensions") if isinstance(document, dict) else None
    if not isinstance(tables, dict):
        raise CatalogError('needs an object "dataExtensions" with one entry per entity type')
    if unknown := sorted(set(tables) - set(EntityType)):
        raise CatalogError(f"unknown entity type {', '.join(unknown)}; there are {', '.join(EntityType)}")
    if missing := [entity.value for entity in EntityType if entity not in tables]:
        raise CatalogError(f"entity type {', '.join(missing)} is missing")
    return Catalog({entity: _data_extension(entity, tables[entity.value]) for entity in EntityType})


def _data_extension(entity: EntityType, entry: Any) -> DataExtension:
    def names(field: str) -> tuple[str, ...]:
        value = entry.get(field)
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
            raise CatalogError(f'{entity.value}: "{field}" must be a list of column names')
        if len(set(value)) < len(value):
            raise CatalogError(f'{entity.value}: "{field}" names a column twice')
        return tuple(value)

    if not isinstance(entry, dict):
        raise CatalogError(f"{entity.value}: must be an object")
    customer_key = entry.get("customerKey")
    if not isinstance(customer_key, str) or not customer_key:
        raise CatalogError(f'{entity.value}: "customerKey" must be the CustomerKey of the data extension')
    primary_key, columns = names("primaryKey"), names("columns")
    if outside := [name for name in (*primary_key, CONSUMER_ID_COLUMN) if name not in columns]:
        raise CatalogError(f"{entity.value}: {', '.join(outside)} is not among the columns")
    return DataExtension(customer_key, primary_key, columns)
