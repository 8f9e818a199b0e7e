"""From an event to the ordered calls that make Marketing Cloud agree with it (strategy ``replace``).

Pure: no call is made here. Every post is an upsert and every delete tolerates a row that is gone, so any call may be
repeated when its answer was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.domain.entities import CHILD_TYPES, Catalog, EntityType, Row
from app.domain.event import DeleteScope, Operation, ProfileEvent
from app.domain.outcome import Phase


class Action(StrEnum):
    """What a step does to a data extension."""

    RETRIEVE = "retrieve"
    UPSERT = "upsert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """One call, or for ``DELETE`` without a row one call for each row that the retrieve of that entity found.

    ``row`` holds all columns for an upsert and the primary key for a delete; a retrieve asks for the consumer's rows.
    """

    action: Action
    entity: EntityType
    phase: Phase
    row: Row | None = None


def plan_replace(event: ProfileEvent, catalog: Catalog, *, replace_parent: bool = False) -> tuple[Step, ...]:
    """The calls of an event, in order.

    NEW: the parent, then each entity row. UPDATE: get the rows of every entity type, delete them one by one (with
    ``replace_parent`` the parent too), then as NEW. DELETE PROFILE: get and delete all entity rows, then the parent.
    DELETE ENTITIES: delete the listed rows.
    """
    match event.operation:
        case Operation.NEW:
            return tuple(_posts(event))
        case Operation.UPDATE:
            steps = _clear(Phase.BEFORE_PARENT)
            if replace_parent:
                steps.append(_delete_parent(event, catalog, Phase.BEFORE_PARENT))
            return (*steps, *_posts(event))
        case Operation.DELETE if event.delete_scope is DeleteScope.ENTITIES:
            return tuple(
                Step(Action.DELETE, entity, Phase.DELETE, catalog[entity].key_of(row)) for entity, row in event.rows()
            )
        case Operation.DELETE:
            return (*_clear(Phase.DELETE), _delete_parent(event, catalog, Phase.DELETE))


def deletes_of(entity: EntityType, phase: Phase, found: Sequence[Row], catalog: Catalog) -> tuple[Step, ...]:
    """The deletes that a retrieve of ``entity`` gives rise to."""
    return tuple(Step(Action.DELETE, entity, phase, catalog[entity].key_of(row)) for row in found)


def _posts(event: ProfileEvent) -> list[Step]:
    parent = Step(Action.UPSERT, EntityType.CONSUMER, Phase.PARENT, event.consumer)
    return [parent, *(Step(Action.UPSERT, entity, Phase.CHILD, row) for entity, row in event.rows())]


def _clear(phase: Phase) -> list[Step]:
    return [
        *(Step(Action.RETRIEVE, entity, phase) for entity in CHILD_TYPES),
        *(Step(Action.DELETE, entity, phase) for entity in CHILD_TYPES),
    ]


def _delete_parent(event: ProfileEvent, catalog: Catalog, phase: Phase) -> Step:
    # A consumer's row is addressed by its consumer ID; other key columns come from the event's own parent row.
    table = catalog[EntityType.CONSUMER]
    known: Row = {"ConsumerId": event.consumer_id, **(event.consumer or {})}
    return Step(
        Action.DELETE, EntityType.CONSUMER, phase, {c: known.get(c, event.consumer_id) for c in table.primary_key}
    )
