"""The calls that an event causes, by strategy, as they can be observed from outside. Pure.

An event's calls come in phases, and in any order within a phase. With ``replace``:

    NEW               parent; its entity rows
    UPDATE            look up all entity types; delete every row there is; parent; its entity rows

with ``reconcile``, which writes what differs and nothing else:

    NEW               look up the parent; if it is there, the types that the event lists; parent; its entity rows
    UPDATE            look up all entity types and (or not) the parent; delete rows whose key may be another spelling
                      of a wanted one; parent; its entity rows; delete the rows that it does not list

and with both:

    DELETE PROFILE    look up all entity types and the parent; delete every row there is; delete the parent
    DELETE ENTITIES   delete the listed rows, there or not

A write of ``reconcile`` carries the event's whole row. In an UPDATE an entity row also carries a null for every other
column that has a value, because the event replaces the whole row. A row of a type that was not looked up (UPDATE: the
parent; NEW: all, if the parent did not exist) is always written. A row of a type that was looked up is written if and
only if it differs from the event's row. Values are equal if their texts are: a run's events have no value that
Marketing Cloud returns in another spelling, and no row twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from app.profile.entities import CHILD_TYPES, CONSUMER_ID_COLUMN, Catalog, DataExtension, EntityType, Row, as_text
from app.profile.event import DeleteScope, Operation, ProfileEvent
from tests.chaos.held import Content, Held, Place
from tests.support.simulator_probe import Call

Strategy = Literal["replace", "reconcile"]
STRATEGIES: tuple[Strategy, ...] = ("replace", "reconcile")

# Operation, data extension, columns and values.
Identity = tuple[str, str, frozenset[tuple[str, str | None]]]
Made = frozenset[Identity]

_TIME_WITH_OFFSET = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:?[0-9]{2})")


class AfterFailure(Enum):
    """What may follow a failed call, besides the same call and the event from its beginning.

    NOTHING: only calls of the same phase that were already on their way; the event ends with a dead letter. OTHERS: the
    other calls; the event ends with a dead letter. END: the other calls; the event may end without a dead letter
    (``partial``).
    """

    NOTHING = "nothing"
    OTHERS = "others"
    END = "end"


class Phase(Protocol):
    """Calls in any order. ``made``: the successful calls of this attempt, of all phases."""

    @property
    def after_failure(self) -> AfterFailure: ...

    def takes(self, call: Identity, made: Made, held: Held) -> bool:
        """Whether the call may be one of this phase now."""

    def complete(self, made: Made, held: Held) -> bool:
        """Whether no call is missing."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Exactly these calls. ``optional``: calls that may be made as well."""

    required: Made
    after_failure: AfterFailure
    optional: Made = frozenset()

    def takes(self, call: Identity, made: Made, held: Held) -> bool:
        return call in self.required or call in self.optional

    def complete(self, made: Made, held: Held) -> bool:
        return self.required <= made


@dataclass(frozen=True, slots=True)
class ListedIfThere:
    """These calls if the row exists, else none."""

    row: Place
    required: Made
    after_failure: AfterFailure = AfterFailure.NOTHING

    def takes(self, call: Identity, made: Made, held: Held) -> bool:
        return call in self.required and held.of(self.row) != {None}

    def complete(self, made: Made, held: Held) -> bool:
        return self.required <= made or None in held.of(self.row)


@dataclass(frozen=True, slots=True)
class Deletes:
    """A delete of every row there is of these data extensions, but of none of ``kept``.

    ``spelled_like``: only of rows whose key differs from one of these in blanks before it. (In case and in blanks after
    it they do not differ: these are one row.)
    """

    data_extensions: frozenset[str]
    after_failure: AfterFailure
    kept: frozenset[Place] = frozenset()
    spelled_like: frozenset[Place] | None = None

    def takes(self, call: Identity, made: Made, held: Held) -> bool:
        if call[0] != "Delete" or call[1] not in self.data_extensions or len(call[2]) != len(held.keys[call[1]]):
            return False
        place = held.place(call[1], dict(call[2]))
        return self._concerns(place) and held.of(place) != {None}

    def complete(self, made: Made, held: Held) -> bool:
        return not any(self._concerns(place) and None not in held.of(place) for place in held.places())

    def _concerns(self, place: Place) -> bool:
        if place[0] not in self.data_extensions or place in self.kept:
            return False
        return self.spelled_like is None or _loosely(place) in map(_loosely, self.spelled_like)


@dataclass(frozen=True, slots=True)
class Upserts:
    """A write of every row that differs from the held one, and of every row whose type was not looked up.

    An equal row may be written too if it has a time with an offset. ``empties_others``: whether the write empties the
    other columns of the row.
    """

    rows: Mapping[Place, Mapping[str, str | None]]
    after_failure: AfterFailure
    empties_others: bool = False

    def takes(self, call: Identity, made: Made, held: Held) -> bool:
        if call[0] != "Update" or call[1] not in held.keys:
            return False
        place = held.place(call[1], dict(call[2]))
        if place not in self.rows:
            return False
        wanted = self._wanted(place, made, held)
        return call in wanted or (None in wanted and self._may_differ(place, call))

    def complete(self, made: Made, held: Held) -> bool:
        return all(
            None in wanted or not wanted.isdisjoint(made)
            for wanted in (self._wanted(place, made, held) for place in self.rows)
        )

    def _wanted(self, place: Place, made: Made, held: Held) -> frozenset[Identity | None]:
        """The calls that the row may need, depending on what it may be; None: none."""
        row = self.rows[place]
        if lookup_of(place[0]) not in made:
            return frozenset([_update(place[0], row)])
        return frozenset(self._needed(place[0], row, content) for content in held.of(place))

    def _may_differ(self, place: Place, call: Identity) -> bool:
        """Whether the call is the event's row, and who does not know types cannot tell that it is held."""
        row = self.rows[place]
        return call == _update(place[0], row) and any(_TIME_WITH_OFFSET.fullmatch(v) for v in row.values() if v)

    def _needed(self, data_extension: str, row: Mapping[str, str | None], content: Content) -> Identity | None:
        there = dict(content or ())
        others = [column for column in there if self.empties_others and column not in row]
        right = all(there.get(column, "") == (value or "") for column, value in row.items())
        if content is not None and right and not others:
            return None
        return _update(data_extension, {**row, **dict.fromkeys(others)})


def identity(call: Call) -> Identity:
    """The identity of a call."""
    return call.operation, call.data_extension, frozenset(item for row in call.rows for item in row.items())


def lookup_of(data_extension: str) -> Identity:
    """The retrieve of a consumer's rows."""
    return "Retrieve", data_extension, frozenset()


def phases_of(event: ProfileEvent, catalog: Catalog, strategy: Strategy) -> tuple[Phase, ...]:
    """The calls that an event causes."""
    if event.operation is Operation.DELETE:
        return _deletes(event, catalog)
    return _replaces(event, catalog) if strategy == "replace" else _reconciles(event, catalog)


def _deletes(event: ProfileEvent, catalog: Catalog) -> tuple[Phase, ...]:
    if event.delete_scope is DeleteScope.ENTITIES:
        keys = [(catalog[entity].customer_key, catalog[entity].key_of(row)) for entity, row in event.rows()]
        return (Listed(frozenset(_call("Delete", *key) for key in keys), AfterFailure.OTHERS),)
    parent = _call("Delete", catalog[EntityType.CONSUMER].customer_key, {CONSUMER_ID_COLUMN: event.consumer_id})
    return (
        Listed(_lookups(catalog, list(EntityType)), AfterFailure.OTHERS),
        # The parent stays until all its rows are gone.
        Deletes(_extensions(catalog), AfterFailure.NOTHING),
        Listed(frozenset([parent]), AfterFailure.NOTHING),
    )


def _replaces(event: ProfileEvent, catalog: Catalog) -> tuple[Phase, ...]:
    parent = _call("Update", catalog[EntityType.CONSUMER].customer_key, event.consumer or {})
    children = frozenset(_call("Update", catalog[entity].customer_key, row) for entity, row in event.rows())
    posts = (Listed(frozenset([parent]), AfterFailure.NOTHING), Listed(children, AfterFailure.END))
    if event.operation is Operation.NEW:
        return posts
    return (
        Listed(_lookups(catalog, CHILD_TYPES), AfterFailure.NOTHING),
        Deletes(_extensions(catalog), AfterFailure.NOTHING),
        *posts,
    )


def _reconciles(event: ProfileEvent, catalog: Catalog) -> tuple[Phase, ...]:
    parent, children = _wanted_rows(event, catalog)
    parent_lookup = _lookups(catalog, [EntityType.CONSUMER])
    if event.operation is Operation.NEW:
        listed = [entity for entity in CHILD_TYPES if event.entities.get(entity)]
        [parent_place] = parent
        return (
            Listed(parent_lookup, AfterFailure.NOTHING),
            ListedIfThere(parent_place, _lookups(catalog, listed)),
            Upserts(parent, AfterFailure.NOTHING),
            Upserts(children, AfterFailure.END),
        )
    wanted, extensions = frozenset(children), _extensions(catalog)
    return (
        Listed(_lookups(catalog, CHILD_TYPES), AfterFailure.NOTHING, optional=parent_lookup),
        Deletes(extensions, AfterFailure.NOTHING, kept=wanted, spelled_like=wanted),
        Upserts(parent, AfterFailure.NOTHING),
        Upserts(children, AfterFailure.END, empties_others=True),
        Deletes(extensions, AfterFailure.END, kept=wanted),
    )


_WantedRows = dict[Place, Mapping[str, str | None]]


def _wanted_rows(event: ProfileEvent, catalog: Catalog) -> tuple[_WantedRows, _WantedRows]:
    """The parent's row, and the others, as the wire carries them."""

    def of(rows: Iterable[tuple[EntityType, Row]]) -> _WantedRows:
        texts = [(catalog[entity], {column: as_text(value) for column, value in row.items()}) for entity, row in rows]
        return {(table.customer_key, _key(table, text)): text for table, text in texts}

    return of([(EntityType.CONSUMER, event.consumer or {})]), of(event.rows())


def _key(table: DataExtension, row: Mapping[str, str | None]) -> tuple[str | None, ...]:
    return tuple(row[column] for column in table.primary_key)


def _lookups(catalog: Catalog, entities: Sequence[EntityType]) -> Made:
    return frozenset(lookup_of(catalog[entity].customer_key) for entity in entities)


def _extensions(catalog: Catalog) -> frozenset[str]:
    return frozenset(catalog[entity].customer_key for entity in CHILD_TYPES)


def _call(operation: str, data_extension: str, row: Row) -> Identity:
    return operation, data_extension, frozenset((column, as_text(value)) for column, value in row.items())


def _update(data_extension: str, row: Mapping[str, str | None]) -> Identity:
    return "Update", data_extension, frozenset(row.items())


def _loosely(place: Place) -> Place:
    return place[0], tuple((part or "").lstrip() for part in place[1])
