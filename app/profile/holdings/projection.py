"""The rows that Marketing Cloud should hold after events; tests and the demo compare the real rows with them. Pure.

This describes the effect of either strategy without its calls: an upsert leaves columns alone that it does not name. An
UPDATE removes the entity rows that it does not list, and replaces those that it lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.profile.entities import Catalog, EntityType, Row, as_text
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.keys import Key, folded_key

TextRow = Mapping[str, str | None]
# The rows of one consumer or of all: entity type -> primary key -> row, with values as SOAP carries them.
Rows = dict[EntityType, dict[Key, TextRow]]


def apply(held: Rows, event: ProfileEvent, catalog: Catalog, *, replace_parent: bool = False) -> Rows:
    """The rows of a consumer after one more event; ``held`` is not changed.

    ``replace_parent`` as in ``SYNC_REPLACE_PARENT``: an UPDATE removes the parent row first.
    """
    match event.operation:
        case Operation.DELETE if event.delete_scope is DeleteScope.ENTITIES:
            gone = {(entity, folded_key(_key(row, entity, catalog))) for entity, row in event.rows()}
            return {
                entity: {key: row for key, row in rows.items() if (entity, folded_key(key)) not in gone}
                for entity, rows in held.items()
            }
        case Operation.DELETE:
            return {}
        case Operation.UPDATE:
            after: Rows = {} if replace_parent else {e: dict(rows) for e, rows in held.items() if e.is_parent}
        case Operation.NEW:
            after = {entity: dict(rows) for entity, rows in held.items()}
    for entity, row in ((EntityType.CONSUMER, event.consumer or {}), *event.rows()):
        rows = after.setdefault(entity, {})
        key = _spelled_as_held(_key(row, entity, catalog), rows)
        texts = {column: as_text(value) for column, value in row.items()}
        if key in rows:
            texts |= dict(zip(catalog[entity].primary_key, key, strict=True))
        rows[key] = {**rows.get(key, {}), **texts}
    return after


def expected_rows(events: Iterable[ProfileEvent], catalog: Catalog, *, replace_parent: bool = False) -> Rows:
    """The rows of all consumers after all events, starting without rows; every entity type is present."""
    consumers: dict[str, Rows] = {}
    for event in events:
        held = consumers.get(event.consumer_id, {})
        consumers[event.consumer_id] = apply(held, event, catalog, replace_parent=replace_parent)
    return {
        entity: {key: row for held in consumers.values() for key, row in held.get(entity, {}).items()}
        for entity in EntityType
    }


def _spelled_as_held(key: Key, rows: Mapping[Key, TextRow]) -> Key:
    """The key as it is held: a row keeps the spelling of the key that it was created with."""
    if key in rows:
        return key
    which = folded_key(key)
    return next((held for held in rows if folded_key(held) == which), key)


def _key(row: Row, entity: EntityType, catalog: Catalog) -> Key:
    return tuple(str(as_text(value)) for value in catalog[entity].key_of(row).values())
