"""Compares the rows in the simulator with the rows that the events should have led to. Pure.

A consumer's rows are known as long as all its events were synced. After another outcome they are unknown, until a
synced event determines all rows: a DELETE of the profile, or an UPDATE that names all columns the parent's row may
have. An UPDATE also removes the entity rows that it does not list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.delivery.outcome import Outcome
from app.profile.entities import CONSUMER_ID_COLUMN, Catalog, EntityType
from app.profile.event import Operation, ProfileEvent
from app.profile.holdings.projection import Rows, TextRow, apply
from app.profile.keys import Key

# The number of differing rows that are named.
EXAMPLES = 5


@dataclass(slots=True)
class _Consumer:
    rows: Rows = field(default_factory=dict)
    known: bool = True
    parent_columns: set[str] = field(default_factory=set)

    def follow(self, event: ProfileEvent, synced: bool, catalog: Catalog) -> None:
        self.known = synced and (self.known or self._determines_all_rows(event))
        self.parent_columns.update(event.consumer or ())
        # A failed event is applied too. Its effect is unknown, but nothing is compared until a later event determines
        # all rows.
        self.rows = apply(self.rows, event, catalog)

    def _determines_all_rows(self, event: ProfileEvent) -> bool:
        if event.deletes_profile:
            return True
        return event.operation is Operation.UPDATE and self.parent_columns <= set(event.consumer or ())


@dataclass(frozen=True, slots=True)
class ExpectedRows:
    """``rows``: those of the ``consumers`` whose rows are known. ``left_out``: the number of other consumers."""

    rows: Rows
    consumers: frozenset[str]
    left_out: int


@dataclass(frozen=True, slots=True)
class RowCheck:
    """The numbers of compared and of differing rows. ``examples``: data extension, key and difference of a few."""

    checked: int
    differing: int
    examples: tuple[str, ...]


def expect(
    events: Iterable[ProfileEvent], outcome_of: Callable[[str], Outcome | None], catalog: Catalog
) -> ExpectedRows:
    """The rows that ``events``, in their order, should have led to. ``outcome_of``: by event ID; None: not known."""
    consumers: dict[str, _Consumer] = {}
    for event in events:
        consumer = consumers.setdefault(event.consumer_id, _Consumer())
        consumer.follow(event, outcome_of(event.event_id) is Outcome.SYNCED, catalog)
    known = {name: consumer for name, consumer in consumers.items() if consumer.known}
    rows: Rows = {
        entity: {key: row for consumer in known.values() for key, row in consumer.rows.get(entity, {}).items()}
        for entity in EntityType
    }
    return ExpectedRows(rows, frozenset(known), len(consumers) - len(known))


def compare(expected: ExpectedRows, held: Mapping[EntityType, Sequence[TextRow]], catalog: Catalog) -> RowCheck:
    """Compare the rows of consumers whose rows are known. Values are in the form of the SOAP messages."""
    checked, problems = 0, []
    for entity in EntityType:
        table = catalog[entity]
        found: dict[Key, TextRow] = {
            tuple(str(row[column]) for column in table.primary_key): row
            for row in held.get(entity, ())
            if row[CONSUMER_ID_COLUMN] in expected.consumers
        }
        wanted = expected.rows.get(entity, {})
        for key in wanted.keys() | found.keys():
            checked += 1
            if problem := _difference(wanted.get(key), found.get(key)):
                problems.append(f"{table.customer_key} {'/'.join(key)}: {problem}")
    return RowCheck(checked, len(problems), tuple(sorted(problems)[:EXAMPLES]))


def _difference(wanted: TextRow | None, found: TextRow | None) -> str:
    if wanted == found:
        return ""
    if found is None:
        return "is missing"
    if wanted is None:
        return "should be gone"
    columns = sorted(column for column in wanted.keys() | found.keys() if wanted.get(column) != found.get(column))
    return f"differs in {', '.join(columns) or 'columns without a value'}"
