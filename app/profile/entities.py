"""Entity types of a consumer profile, and the catalog: the data extensions that hold them, in general and by market."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timezone
from decimal import Decimal
from enum import StrEnum

from app.profile.column_types import DEFAULT_TIME_ZONE, ColumnTypes, FieldType, time_zone

Scalar = str | int | float | Decimal | bool | None
Row = Mapping[str, Scalar]


# Numbers with more digits than this before or after the point are not written out: 1E+999999999 would fill the memory.
# A data extension holds at most 38 digits.
_PLAIN_DIGITS = 100


def as_text(value: Scalar) -> str | None:
    """A value as SOAP carries it: every property is text, spelled as in JSON. None stays None.

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

_DEFAULT_ZONE = time_zone(DEFAULT_TIME_ZONE)
# Every data extension has this column; the child rows of an event may leave it out.
CONSUMER_ID_COLUMN = "ConsumerId"


@dataclass(frozen=True, slots=True)
class DataExtension:
    """One table of Marketing Cloud: its CustomerKey, its primary key and all its columns.

    Column names are matched without regard to case, as Marketing Cloud does. The spelling here is used everywhere.

    ``types``: the columns' types, as far as Marketing Cloud has reported them. ``zone``: the time zone of the dates
    that the account returns. ``declared``: the types that the configuration names, used only for a comparison with the
    real ones. ``shared_from``: the MID of the parent account that shares the data extension.
    """

    customer_key: str
    primary_key: tuple[str, ...]
    columns: tuple[str, ...]
    types: ColumnTypes = field(default_factory=dict, hash=False)
    zone: timezone = _DEFAULT_ZONE
    declared: ColumnTypes = field(default_factory=dict, hash=False)
    shared_from: str | None = None
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    _by_folded_name: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(self.columns))
        object.__setattr__(self, "_by_folded_name", {column.casefold(): column for column in self.columns})

    def column(self, name: str) -> str | None:
        """The column of that name, in any case, as it is spelled here; None: there is no such column."""
        return name if name in self.names else self._by_folded_name.get(name.casefold())

    @property
    def has_date_in_key(self) -> bool:
        """Whether a column of the primary key is known to be a Date."""
        return any(
            (kind := self.types.get(column)) is not None and kind.field_type is FieldType.DATE
            for column in self.primary_key
        )

    def typed(self, types: ColumnTypes) -> DataExtension:
        """The same data extension with these column types; columns of unknown types are left out of ``types``."""
        return replace(self, types=types)

    def key_of(self, row: Row) -> Row:
        """The primary-key columns of a row, in the data extension's order."""
        return {column: row[column] for column in self.primary_key}


# An account ID goes into the token request, metric labels and fingerprints of incidents. Real ones have nine digits.
ACCOUNT_PATTERN = r"^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,19}$"
# The name of the account of CMT_ACCOUNT_ID, or of the package's own account if that is not set.
OWN_ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Where rows are written: the data extension of every entity type, and the account that has them.

    ``account_id``: None is the account of ``CMT_ACCOUNT_ID``. ``markets``: the catalog of each market; None: this
    catalog is for all markets. ``other_markets``: the catalog of markets that are not listed; None: their events are
    refused. The configuration is described by ``data-extensions.schema.json``.
    """

    data_extensions: Mapping[EntityType, DataExtension]
    account_id: str | None = None
    markets: Mapping[str, Catalog] | None = None
    other_markets: Catalog | None = None

    def __getitem__(self, entity: EntityType) -> DataExtension:
        return self.data_extensions[entity]

    def of_market(self, market: str) -> Catalog | None:
        """The catalog of a market; None: the market is not known."""
        if self.markets is None:
            return self
        return self.markets.get(market, self.other_markets)

    def typed(self, types: Mapping[EntityType, ColumnTypes]) -> Catalog:
        """The same catalog with these column types."""
        tables = {entity: table.typed(types.get(entity, {})) for entity, table in self.data_extensions.items()}
        return replace(self, data_extensions=tables)

    @property
    def has_types(self) -> bool:
        """Whether the type of any column is known."""
        return any(table.types for table in self.data_extensions.values())

    def by_market(self) -> Iterator[tuple[str | None, Catalog]]:
        """Every market and its catalog; the market None stands for all that are not listed, if they have a catalog."""
        if self.markets is None:
            yield None, self
            return
        yield from self.markets.items()
        if self.other_markets is not None:
            yield None, self.other_markets
