"""What Marketing Cloud should hold of a consumer after its last settled full state, and where it does not. Pure.

| last full state                 | wanted                           | other entity rows                        |
|---------------------------------|----------------------------------|------------------------------------------|
| UPDATE                          | parent, exactly its entity rows  | are drift                                |
| NEW                             | parent, its entity rows          | neither right nor wrong: checked in part |
| DELETE of the profile           | nothing                          | are drift                                |
| NEW, UPDATE, no longer in Kafka | that there is a parent           | neither right nor wrong: checked in part |
| DELETE, no longer in Kafka      | nothing                          | are drift                                |
| none                            | nothing is known                 | neither right nor wrong: checked in part |

Rows that later events deleted one by one are not wanted, and are drift when they are there. When more were deleted than
the consumer's record remembers, entity rows may be missing: checked in part.

A column that an event does not name is left alone in the parent's row, and after a NEW in every row; after an UPDATE
entity rows are to be as if they had been deleted and posted (see ``diff``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.domain.consumer_state import ConsumerState
from app.domain.counts import RowKey
from app.domain.diff import EntityRow, diff, same
from app.domain.entities import (
    CHILD_TYPES,
    CONSUMER_ID_COLUMN,
    Catalog,
    DataExtension,
    EntityType,
    Row,
    Scalar,
    as_text,
)
from app.domain.event import Operation, ProfileEvent
from app.domain.outcome import Outcome
from app.domain.supersedes import Superseded, what_is_left

Held = Mapping[EntityType, Sequence[Row]]

IN_PART_NEW = "a NEW does not say which other entity rows there are"
IN_PART_FORGOTTEN = "more rows were deleted since than are remembered, so entity rows may be missing"
IN_PART_LOST = "the event is no longer in Kafka, so only the parent row's existence was checked"
IN_PART_NOTHING = "no full state of the consumer was ever written"


class ParentRow(StrEnum):
    """What is known of the parent row, whatever stands in it."""

    THERE = "there"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should be held.

    ``wanted``: rows that must be there. ``complete``: no other entity row may be. ``gone``: rows that must not be there
    in any case. ``may_miss``: entity rows may be missing. ``in_part``: why not everything can be checked; None: it can.
    """

    parent: ParentRow
    wanted: tuple[EntityRow, ...] = ()
    complete: bool = False
    gone: frozenset[RowKey] = frozenset()
    may_miss: bool = False
    in_part: str | None = None


class DriftKind(StrEnum):
    """How a row differs from what it should be."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """A column of a row that differs; the texts are personal data."""

    column: str
    wanted: str | None
    held: str | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A row that is not as it should be. ``key``: the text of its primary key. ``columns``: those that differ."""

    entity: EntityType
    kind: DriftKind
    key: tuple[str, ...]
    columns: tuple[ColumnDrift, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found, and the writes that mend it, in their order.

    ``delete_first``: keys that must go before the upserts, being another spelling of a wanted one. ``upserts``: parent
    first. ``delete_last``: parent last. ``beyond_repair``: there is drift that these writes do not mend.
    """

    drift: tuple[Drift, ...] = ()
    delete_first: tuple[EntityRow, ...] = ()
    upserts: tuple[EntityRow, ...] = ()
    delete_last: tuple[EntityRow, ...] = ()
    beyond_repair: bool = False


def expected_after(event: ProfileEvent, state: ConsumerState, catalog: Catalog) -> Expectation:
    """What a consumer's last full state, and the deletes since, say of its rows.

    Args:
        event: that of ``state.full``.
        catalog: the data extensions of its market.
    """
    if event.operation is Operation.DELETE:
        return Expectation(ParentRow.GONE, complete=True)
    offset = state.offset if state.full is None else state.full.offset
    forgotten = state.deleted_forgotten > offset
    left = what_is_left(event, offset, replace(state, deleted_forgotten=-1), catalog)
    assert not isinstance(left, Superseded), "nothing is newer than the last full state"
    new = event.operation is Operation.NEW
    notes = [note for note, holds in ((IN_PART_NEW, new), (IN_PART_FORGOTTEN, forgotten)) if holds]
    return Expectation(
        ParentRow.THERE,
        ((EntityType.CONSUMER, left.consumer or {}), *left.rows()),
        complete=not new,
        gone=_deleted_since(state, offset),
        may_miss=forgotten,
        in_part="; ".join(notes) or None,
    )


def expected_without_event(state: ConsumerState) -> Expectation:
    """As ``expected_after`` when the event cannot be read any more, or there never was one."""
    if state.full is None:
        return Expectation(ParentRow.UNKNOWN, gone=_deleted_since(state, -1), in_part=IN_PART_NOTHING)
    if state.full.operation == Operation.DELETE:
        return Expectation(ParentRow.GONE, complete=True)
    return Expectation(ParentRow.THERE, gone=_deleted_since(state, state.full.offset), in_part=IN_PART_LOST)


def failed_since(state: ConsumerState) -> bool:
    """Whether a later event failed: it may have written a part, and it is still to be dealt with."""
    for event in state.recent:
        if state.full is not None and event.event_id == state.full.event_id:
            return False
        if event.outcome == Outcome.FAILED:
            return True
    return False


def compare(held: Held, expected: Expectation, consumer_id: str, catalog: Catalog) -> Comparison:
    """What is wrong with the rows of a consumer. ``held``: of every entity type."""
    if expected.parent is ParentRow.GONE:
        extra = [(entity, row) for entity in (*CHILD_TYPES, EntityType.CONSUMER) for row in held.get(entity, ())]
        return Comparison(
            tuple(_extra(entity, row, catalog[entity]) for entity, row in extra),
            delete_last=tuple((entity, catalog[entity].key_of(row)) for entity, row in extra),
        )
    wanted = [
        (entity, row)
        for entity, row in expected.wanted
        if entity.is_parent or not expected.may_miss or _of_key(row, held.get(entity, ()), catalog[entity]) is not None
    ]
    difference = diff(held, wanted, catalog, anew=expected.complete)
    upserts = _merged(difference.upserts, catalog)
    drift = [_wrong(entity, row, held.get(entity, ()), catalog[entity]) for entity, row in upserts]

    def to_delete(keys: Iterable[EntityRow]) -> tuple[EntityRow, ...]:
        return tuple(
            (entity, key)
            for entity, key in keys
            if expected.complete or (entity.value, _within_consumer(key, catalog[entity])) in expected.gone
        )

    first, last = to_delete(difference.respelled), to_delete(difference.vanished)
    drift += [_extra(entity, key, catalog[entity]) for entity, key in (*first, *last)]
    # Without the event nobody knows what to post.
    lost = expected.parent is ParentRow.THERE and not expected.wanted and not held.get(EntityType.CONSUMER)
    if lost:
        drift.insert(0, Drift(EntityType.CONSUMER, DriftKind.MISSING, (consumer_id,)))
    return Comparison(tuple(drift), first, tuple(upserts), last, beyond_repair=lost)


def _deleted_since(state: ConsumerState, offset: int) -> frozenset[RowKey]:
    return frozenset((row.entity, row.key) for row in state.deleted if row.offset > offset)


def _wrong(entity: EntityType, wanted: Row, held: Sequence[Row], table: DataExtension) -> Drift:
    found, key = _of_key(wanted, held, table), _key(wanted, table)
    if found is None:
        return Drift(entity, DriftKind.MISSING, key)
    columns = [
        ColumnDrift(column, as_text(value), as_text(found.get(column)))
        for column, value in wanted.items()
        if not same(found.get(column), value)
    ]
    return Drift(entity, DriftKind.DIFFERENT, key, tuple(columns))


def _extra(entity: EntityType, row: Row, table: DataExtension) -> Drift:
    return Drift(entity, DriftKind.EXTRA, _key(row, table))


def _merged(rows: Iterable[EntityRow], catalog: Catalog) -> list[EntityRow]:
    """Rows of one key as one, later columns over earlier ones."""
    merged: dict[tuple[EntityType, tuple[str, ...]], dict[str, Scalar]] = {}
    for entity, row in rows:
        merged.setdefault((entity, _key(row, catalog[entity])), {}).update(row)
    return [(entity, row) for (entity, _), row in merged.items()]


def _of_key(wanted: Row, held: Sequence[Row], table: DataExtension) -> Row | None:
    """The held row that certainly has the key of the wanted one."""
    return next((row for row in held if all(same(row.get(c), wanted[c]) for c in table.primary_key)), None)


def _key(row: Row, table: DataExtension) -> tuple[str, ...]:
    return tuple(as_text(value) or "" for value in table.key_of(row).values())


def _within_consumer(row: Row, table: DataExtension) -> tuple[str, ...]:
    """As ``DeletedRow.key``."""
    return tuple(as_text(row.get(column)) or "" for column in table.primary_key if column != CONSUMER_ID_COLUMN)
