"""Decides what may still be written of an event after later ones: an old state never overwrites a newer one. Pure.

A consumer's events run in order, so this matters only if the order was left on purpose (a dead letter is redriven) or
could not be kept (the state was restored). o: the event's offset. f: the offset of the newest *full state* that reached
Marketing Cloud (NEW, UPDATE or DELETE PROFILE, synced or partial). d: the offsets of settled DELETE ENTITIES.

| event at o      | newest full state | rows deleted since (d > o)      | what happens                                 |
|-----------------|-------------------|---------------------------------|----------------------------------------------|
| any             | f > o             | any                             | superseded: f stated everything              |
| any             | none, f < o       | none                            | runs                                         |
| any             | f = o             | any                             | as without f: the event runs again, because  |
|                 |                   |                                 | a crash lost its settlement                  |
| NEW, UPDATE     | none, f <= o      | some                            | runs without those rows                      |
| NEW, UPDATE     | none, f <= o      | more than are remembered        | superseded: what to leave out is not known   |
| DELETE PROFILE  | none, f <= o      | any                             | runs                                         |
| DELETE ENTITIES | none, f <= o      | any                             | runs: a row that is gone already is no error |

Rows deleted before f do not matter, so the consumer record forgets them when a full state settles.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.delivery.consumer_record import ConsumerState, FullState
from app.delivery.counts import RowKey
from app.profile.consumer_history import deleted_since
from app.profile.entities import CHILD_TYPES, Catalog
from app.profile.event import Operation, ProfileEvent, has_utf8_form
from app.profile.holdings.row_digests import Digests
from app.profile.keys import identity, key_within_consumer


@dataclass(frozen=True, slots=True)
class Superseded:
    """The event must not run; ``message`` says why."""

    message: str


def what_is_left(
    event: ProfileEvent, offset: int, state: ConsumerState | None, catalog: Catalog
) -> ProfileEvent | Superseded:
    """The event as it may run now, or why it must not run; see the table.

    Args:
        offset: the event's offset in its partition of the main topic.
        state: the consumer record on that partition; None: no event of the consumer was settled there.
        catalog: the data extensions of the event's market; rows deleted elsewhere do not matter.
    """
    if state is None:
        return event
    full = state.full
    if full is not None and full.offset > offset:
        return Superseded(f"a later {_named(full)} has been written")
    if event.operation is Operation.DELETE:
        return event
    if state.deleted_forgotten > offset:
        return Superseded("later DELETEs removed more rows than are remembered, so it might bring some of them back")
    if not state.deleted:
        return event
    gone = deleted_since(state, offset, Digests(catalog).place)
    return _without(event, gone, catalog) if gone else event


def deleted_rows(event: ProfileEvent, catalog: Catalog) -> tuple[RowKey, ...]:
    """The rows that a settled DELETE ENTITIES adds to the consumer record; none for other events.

    Left out are only rows whose key neither the record nor Marketing Cloud can hold.
    """
    if event.is_full_state:
        return ()
    keys = (
        (entity.value, key_within_consumer(row, catalog[entity]))
        for entity in CHILD_TYPES
        for row in event.entities.get(entity, ())
    )
    return tuple((entity, key) for entity, key in keys if all(map(has_utf8_form, key)))


def _without(event: ProfileEvent, gone: Collection[RowKey], catalog: Catalog) -> ProfileEvent:
    left = {
        entity: kept
        for entity, rows in event.entities.items()
        if (kept := tuple(row for row in rows if identity(entity, row, catalog[entity]) not in gone))
    }
    return event.model_copy(update={"entities": left})


def _named(full: FullState) -> str:
    return f"{full.operation} (event {full.event_id})"
