"""What differs between the rows that Marketing Cloud holds and those that an event wants. Pure.

When two values are the same says ``app/profile/values.py``. A key column is the same in another case and with other
trailing blanks too (``app/profile/keys.py``): "p1" and "P1 " are one row, and its values decide whether it is as it is
wanted. When in doubt two values differ: an upsert that was not needed does no harm, one that is missing does.
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
    """What has to be done, in writing order; ``upserts`` and ``right`` together are the wanted rows.

    right: rows that are held as they are wanted.
    respelled: primary keys, as they are held, of rows whose key may be a wanted one in another spelling: where the type
        of the key column is not known, "007" and "7" may be one key. They must be deleted before the upserts.
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
) -> RowDifference:
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
    return RowDifference(
        upserts=tuple(row for part in parts for row in part.upserts),
        right=tuple(row for part in parts for row in part.right),
        respelled=tuple(key for part in parts for key in part.respelled),
        vanished=tuple(key for part in parts for key in part.vanished),
    )


def same_row(held: Row, wanted: Row, table: DataExtension) -> bool:
    """Whether both certainly have one key."""
    return all(same_key_value(held.get(column), wanted[column], column, table) for column in table.primary_key)


def _diff_of(
    entity: EntityType, table: DataExtension, held: Sequence[Row], wanted: Sequence[Row], *, anew: bool
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

    return RowDifference(
        upserts=tuple(upserts), right=tuple(right), respelled=keys(respelled=True), vanished=keys(respelled=False)
    )


def _says(held: Row, wanted: Row, table: DataExtension) -> bool:
    """Whether a held row of that key has the wanted values."""
    return all(
        same_value(held.get(column), value, column, table)
        for column, value in wanted.items()
        if column not in table.primary_key
    )


def _loose_key(row: Row, table: DataExtension) -> Key:
    return tuple(loosely_alike(row[column], column, table) for column in table.primary_key)
