"""Finds drift between a consumer's held rows and the expected ones, and the writes that repair it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.profile.diff import EntityRow, diff, same_row
from app.profile.entities import CHILD_TYPES, CONSUMER_ID_COLUMN, Catalog, DataExtension, EntityType, Row, as_text
from app.profile.holdings.expected_state import Expectation, ParentRow
from app.profile.holdings.row_digests import Digests
from app.profile.holdings.row_list import ListedRow
from app.profile.keys import identity, key_of
from app.profile.values import same_value

Held = Mapping[EntityType, Sequence[Row]]

WHICH_COLUMNS = "which columns differ is not known: only a digest of the row was kept"


class DriftKind(StrEnum):
    """How a row differs from the expected one."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """A column that differs; the texts are personal data."""

    column: str
    wanted: str | None
    held: str | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A row that is not as it should be.

    ``key``: its primary key as text. ``columns``: the columns that differ. ``note``: why they are not known.
    """

    entity: EntityType
    kind: DriftKind
    key: tuple[str, ...]
    columns: tuple[ColumnDrift, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class RowComparison:
    """The drift that was found, and the writes that repair it, in order.

    ``delete_first``: rows to delete before the upserts, because their keys are another spelling of wanted keys.
    ``upserts``: the parent first. ``delete_last``: the parent last. ``beyond_repair``: some of the drift is not
    repaired by these writes.
    """

    drift: tuple[Drift, ...] = ()
    delete_first: tuple[EntityRow, ...] = ()
    upserts: tuple[EntityRow, ...] = ()
    delete_last: tuple[EntityRow, ...] = ()
    beyond_repair: bool = False


def compare(held: Held, expected: Expectation, consumer_id: str, catalog: Catalog) -> RowComparison:
    """Compare a consumer's rows with the expected ones. ``held``: the rows of every entity type."""
    if expected.parent is ParentRow.GONE:
        extra = [(entity, row) for entity in (*CHILD_TYPES, EntityType.CONSUMER) for row in held.get(entity, ())]
        return RowComparison(
            tuple(_extra(entity, row, catalog[entity]) for entity, row in extra),
            delete_last=tuple((entity, catalog[entity].key_of(row)) for entity, row in extra),
        )
    wanted = [
        (entity, row)
        for entity, row in expected.wanted
        if entity.is_parent or not expected.may_miss or _of_key(row, held.get(entity, ()), catalog[entity]) is not None
    ]
    difference = diff(held, wanted, catalog, clear_unnamed=expected.clear_unnamed)
    matched = (expected.digests or Digests(catalog)).match(expected.listed, held, consumer_id)
    drift = [_wrong(entity, row, held.get(entity, ()), catalog[entity]) for entity, row in difference.upserts]

    def to_delete(keys: Iterable[EntityRow]) -> tuple[EntityRow, ...]:
        return tuple(
            (entity, key)
            for entity, key in keys
            if (entity, key_of(key, catalog[entity])) not in matched.found
            and (expected.complete or identity(entity, key, catalog[entity]) in expected.gone)
        )

    first, last = to_delete(difference.respelled), to_delete(difference.vanished)
    # What to post for these rows is not known.
    drift += [Drift(row.entity, DriftKind.MISSING, _listed_key(row, consumer_id, catalog)) for row in matched.missing]
    drift += [
        Drift(row.entity, DriftKind.DIFFERENT, _listed_key(row, consumer_id, catalog), note=WHICH_COLUMNS)
        for row in matched.different
    ]
    drift += [_extra(entity, key, catalog[entity]) for entity, key in (*first, *last)]
    nothing_said = not expected.wanted and not expected.listed
    if lost := expected.parent is ParentRow.THERE and nothing_said and not held.get(EntityType.CONSUMER):
        drift.insert(0, Drift(EntityType.CONSUMER, DriftKind.MISSING, (consumer_id,)))

    def certain(keys: Iterable[EntityRow]) -> tuple[EntityRow, ...]:
        """Without rows that may be another spelling of a missing listed row, which could not be posted again."""
        return tuple(
            (entity, key) for entity, key in keys if (entity, key_of(key, catalog[entity])) not in matched.doubtful
        )

    return RowComparison(
        tuple(drift),
        certain(first),
        difference.upserts,
        certain(last),
        beyond_repair=lost or bool(matched.missing or matched.different),
    )


def _wrong(entity: EntityType, wanted: Row, held: Sequence[Row], table: DataExtension) -> Drift:
    found, key = _of_key(wanted, held, table), key_of(wanted, table)
    if found is None:
        return Drift(entity, DriftKind.MISSING, key)
    columns = [
        ColumnDrift(column, as_text(value), as_text(found.get(column)))
        for column, value in wanted.items()
        if column not in table.primary_key and not same_value(found.get(column), value, column, table)
    ]
    return Drift(entity, DriftKind.DIFFERENT, key, tuple(columns))


def _extra(entity: EntityType, row: Row, table: DataExtension) -> Drift:
    return Drift(entity, DriftKind.EXTRA, key_of(row, table))


def _listed_key(row: ListedRow, consumer_id: str, catalog: Catalog) -> tuple[str, ...]:
    """The whole primary key as text; for a parent row, the consumer ID."""
    if row.entity.is_parent:
        return (consumer_id,)
    rest = iter(row.key)
    columns = catalog[row.entity].primary_key
    return tuple(consumer_id if column == CONSUMER_ID_COLUMN else next(rest, "") for column in columns)


def _of_key(wanted: Row, held: Sequence[Row], table: DataExtension) -> Row | None:
    """The held row that certainly has the wanted row's key."""
    return next((row for row in held if same_row(row, wanted, table)), None)
