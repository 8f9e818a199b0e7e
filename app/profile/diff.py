"""The difference between the rows that Marketing Cloud holds and the rows that an event wants. Pure.

``app/profile/values.py`` decides whether two values are the same. Keys are compared without case and trailing blanks
(``app/profile/keys.py``), so "p1" and "P1 " are the same row; the other columns decide whether that row is right. If in
doubt, two values count as different: an unnecessary upsert does no harm, a missing one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.profile.entities import Catalog, DataExtension, EntityType, Row
from app.profile.keys import Key, merged
from app.profile.values import loosely_alike, same_key_value, same_value

EntityRow = tuple[EntityType, Row]


@dataclass(frozen=True, slots=True)
class RowDifference:
    """What has to be done, in writing order. ``upserts`` and ``right`` together are the wanted rows.

    right: wanted rows that are already held as they should be.
    respelled: held primary keys that may be another spelling of a wanted key: "007" and "7" may be the same key if the
        type of the key column is not known. These rows must be deleted before the upserts.
    vanished: held primary keys of all other rows that are not wanted; these are deleted after the upserts.
    """

    upserts: tuple[EntityRow, ...] = ()
    right: tuple[EntityRow, ...] = ()
    respelled: tuple[EntityRow, ...] = ()
    vanished: tuple[EntityRow, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing has to be done."""
        return not (self.upserts or self.respelled or self.vanished)


def diff(
    held: Mapping[EntityType, Sequence[Row]],
    wanted: Sequence[EntityRow],
    catalog: Catalog,
    *,
    clear_unnamed: bool = False,
) -> RowDifference:
    """Compare all rows of a consumer.

    An upsert leaves a column alone that its row does not name, and so does this comparison; but see ``clear_unnamed``.
    A parent row never vanishes.

    Args:
        held: the rows of each entity type. If a type is missing here, its rows are not known and are upserted.
        wanted: rows of any types; rows with the same key (see ``keys.merged``) count as one row.
        clear_unnamed: entity rows, but not the parent, should look as if they had been deleted and posted: an upsert
            sets the columns to null that the wanted row does not name. (A default value does not come back that way.)
    """
    parts = [
        _diff_of(
            entity,
            catalog[entity],
            held.get(entity, ()),
            [row for of, row in wanted if of is entity],
            clear_unnamed=clear_unnamed and not entity.is_parent,
        )
        for entity in EntityType
    ]
    return RowDifference(
        upserts=tuple(row for part in parts for row in part.upserts),
        right=tuple(row for part in parts for row in part.right),
        respelled=tuple(key for part in parts for key in part.respelled),
        vanished=tuple(key for part in parts for key in part.vanished),
    )


def same_row(held: Row, wanted: Row, table: DataExtension) -> bool:
    """Whether both rows certainly have the same key."""
    return all(same_key_value(held.get(column), wanted[column], column, table) for column in table.primary_key)


def _diff_of(
    entity: EntityType, table: DataExtension, held: Sequence[Row], wanted: Sequence[Row], *, clear_unnamed: bool
) -> RowDifference:
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
            if clear_unnamed and there
            else {}
        )
        if there is not None and not emptied and _has_values(there, row, table):
            right.append((entity, row))
        else:
            upserts.append((entity, {**row, **emptied}))
    unlisted = [row for row in held if id(row) not in found and not entity.is_parent]
    doubtful = {_loose_key(row, table) for row in rows}

    def keys(respelled: bool) -> tuple[EntityRow, ...]:
        of_these = (row for row in unlisted if (_loose_key(row, table) in doubtful) is respelled)
        return tuple((entity, table.key_of(row)) for row in of_these)

    return RowDifference(
        upserts=tuple(upserts), right=tuple(right), respelled=keys(respelled=True), vanished=keys(respelled=False)
    )


def _has_values(held: Row, wanted: Row, table: DataExtension) -> bool:
    """Whether a held row with the wanted key also has the wanted values."""
    return all(
        same_value(held.get(column), value, column, table)
        for column, value in wanted.items()
        if column not in table.primary_key
    )


def _loose_key(row: Row, table: DataExtension) -> Key:
    return tuple(loosely_alike(row[column], column, table) for column in table.primary_key)
