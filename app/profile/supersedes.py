"""An old state never overwrites a newer one: what a settled later event leaves of an older one. Pure.

Events of a consumer run in order, so this decides only where order was left on purpose (a dead letter that is redriven)
or could not be kept (state that was restored). o = the event's offset, f = the offset of the newest *full state* that
reached Marketing Cloud (NEW, UPDATE or DELETE PROFILE, synced or partial), d = offsets of settled DELETE ENTITIES:

| event at o      | newest full state | rows deleted since (d > o)      | what becomes of it                           |
|-----------------|-------------------|---------------------------------|----------------------------------------------|
| any             | f > o             | any                             | superseded: f said everything there is       |
| any             | none, f < o       | none                            | runs                                         |
| any             | f = o             | any                             | as if f were not there: it runs again after  |
|                 |                   |                                 | a crash that its settling did not survive    |
| NEW, UPDATE     | none, f <= o      | some                            | runs without those rows                      |
| NEW, UPDATE     | none, f <= o      | more than are remembered        | superseded: what to leave out is not known   |
| DELETE PROFILE  | none, f <= o      | any                             | runs                                         |
| DELETE ENTITIES | none, f <= o      | any                             | runs: a row that is gone already is no error |

Rows deleted before f play no part, so a consumer's record forgets them when a full state settles.
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
    """The event must not run; ``message`` says why, for people."""

    message: str


def what_is_left(
    event: ProfileEvent, offset: int, state: ConsumerState | None, catalog: Catalog
) -> ProfileEvent | Superseded:
    """The event as it may run now, or why it may not; see the table.

    Args:
        offset: of the event in its partition of the main topic.
        state: the consumer's record on that partition; None: nothing of the consumer was ever settled there.
        catalog: the data extensions of the event's market; rows deleted elsewhere play no part.
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
    """What a settled DELETE ENTITIES adds to the consumer's record; nothing for other events.

    No row is left out but one whose key neither the record nor Marketing Cloud can hold.
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
