"""Plans the calls that write an event to Marketing Cloud, in order and by strategy. Pure: no call is made here.

``plan_replace`` deletes and posts. ``plan_reconcile`` plans reads and all possible writes; ``narrow`` then keeps the
writes that are needed. Every post is an upsert, and every delete accepts a row that is already gone, so any call can be
repeated if its answer was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from app.delivery.outcome import Phase
from app.delivery.value_class import value_class
from app.profile.diff import diff
from app.profile.entities import CHILD_TYPES, Catalog, EntityType, Row
from app.profile.event import DeleteScope, Operation, ProfileEvent


class Action(StrEnum):
    """What a step does to a data extension. KEEP does nothing: the row is already right."""

    RETRIEVE = "retrieve"
    UPSERT = "upsert"
    DELETE = "delete"
    KEEP = "keep"


@value_class(frozen=True, slots=True)
class Step:
    """One call, except that ``KEEP`` makes none and ``DELETE`` without a row makes one per row that was retrieved.

    ``row``: all columns for an upsert, the primary key for a delete. A retrieve gets all rows of the consumer.
    """

    action: Action
    entity: EntityType
    phase: Phase
    row: Row | None = None


def plan_replace(event: ProfileEvent, catalog: Catalog, *, replace_parent: bool = False) -> tuple[Step, ...]:
    """The calls of an event, in order.

    NEW: post the parent, then each entity row. UPDATE: get the rows of every entity type, delete them one by one (with
    ``replace_parent`` the parent too), then post as for NEW. DELETE PROFILE: get all rows, delete the entity rows, then
    the parent. DELETE ENTITIES: delete the listed rows.

    Rows are read before they are deleted, except those that an event lists by their keys: a row may be held under
    another spelling of the consumer's ID, and then it belongs to another consumer.
    """
    match event.operation:
        case Operation.NEW:
            return tuple(_posts(event))
        case Operation.UPDATE:
            steps = _clear(Phase.BEFORE_PARENT, with_parent=replace_parent)
            if replace_parent:
                steps.append(_delete_parent(event, catalog, Phase.BEFORE_PARENT))
            return (*steps, *_posts(event))
        case Operation.DELETE if event.delete_scope is DeleteScope.ENTITIES:
            return tuple(
                Step(Action.DELETE, entity, Phase.DELETE, catalog[entity].key_of(row)) for entity, row in event.rows()
            )
        case Operation.DELETE:
            return (*_clear(Phase.DELETE, with_parent=True), _delete_parent(event, catalog, Phase.DELETE))


def plan_reconcile(event: ProfileEvent, catalog: Catalog) -> tuple[Step, ...]:
    """The calls of an event, in order: the retrieves, and every write that may turn out to be needed.

    UPDATE: get the parent and the rows of every entity type, post the rows that differ, then delete the rows that the
    event does not list. NEW: get the parent and, if there is one, the rows of the types that the event lists; post what
    differs. DELETE: as in ``plan_replace``.

    The late deletes of an UPDATE have the phase CHILD: if one fails, the event is ``partial``, because the parent and
    all wanted rows are written. An UPDATE is not a request to erase; a DELETE is, and is never ``partial``.
    """
    if event.operation is Operation.DELETE:
        return plan_replace(event, catalog)
    children = CHILD_TYPES if event.operation is Operation.UPDATE else _types_of(event)
    reads = tuple(Step(Action.RETRIEVE, entity, Phase.BEFORE_PARENT) for entity in (EntityType.CONSUMER, *children))
    deletes = CHILD_TYPES if event.operation is Operation.UPDATE else ()
    return (*reads, *_posts(event), *(Step(Action.DELETE, entity, Phase.CHILD) for entity in deletes))


def narrow(steps: Sequence[Step], found: Mapping[EntityType, Sequence[Row]], catalog: Catalog) -> tuple[Step, ...]:
    """The writes of ``plan_reconcile`` that are needed, given the rows that the retrieves found.

    A wanted row that is already right becomes a ``KEEP``. If a type was not retrieved, all its writes are needed.
    """
    posts = [step for step in steps if step.action is Action.UPSERT]
    clears = any(step.action is Action.DELETE for step in steps)
    # With deletes, the event states all entity rows. Both strategies must leave the same rows, so unnamed columns are
    # cleared as in a row that was deleted and posted.
    difference = diff(found, [(step.entity, step.row or {}) for step in posts], catalog, clear_unnamed=clears)

    def deletes(keys: Sequence[tuple[EntityType, Row]], phase: Phase) -> list[Step]:
        return [Step(Action.DELETE, entity, phase, key) for entity, key in keys] if clears else []

    def of_wanted(action: Action, rows: Sequence[tuple[EntityType, Row]]) -> list[Step]:
        return [Step(action, entity, Phase.PARENT if entity.is_parent else Phase.CHILD, row) for entity, row in rows]

    # The parent comes first, kept or upserted. Kept rows come before the others, so that they do not split a batch.
    kept, upserts = of_wanted(Action.KEEP, difference.right), of_wanted(Action.UPSERT, difference.upserts)
    return (
        # Before anything is posted, as in ``plan_replace``: it may be the same row as one that is posted.
        *deletes(difference.respelled, Phase.BEFORE_PARENT),
        *sorted((*kept, *upserts), key=lambda step: step.phase is not Phase.PARENT),
        *deletes(difference.vanished, Phase.CHILD),
    )


def contradiction(strategy: str, *, replace_parent: bool) -> str | None:
    """Why these settings contradict each other; None: they do not."""
    if strategy == "reconcile" and replace_parent:
        return (
            "SYNC_REPLACE_PARENT=true needs SYNC_STRATEGY=replace: reconcile never deletes the parent row in an UPDATE;"
            " leave one of them out"
        )
    return None


def deletes_of(entity: EntityType, phase: Phase, found: Sequence[Row], catalog: Catalog) -> tuple[Step, ...]:
    """The deletes for the rows that a retrieve of ``entity`` found."""
    return tuple(Step(Action.DELETE, entity, phase, catalog[entity].key_of(row)) for row in found)


def _posts(event: ProfileEvent) -> list[Step]:
    parent = Step(Action.UPSERT, EntityType.CONSUMER, Phase.PARENT, event.consumer)
    return [parent, *(Step(Action.UPSERT, entity, Phase.CHILD, row) for entity, row in event.rows())]


def _types_of(event: ProfileEvent) -> tuple[EntityType, ...]:
    return tuple(entity for entity in CHILD_TYPES if event.entities.get(entity))


def _clear(phase: Phase, *, with_parent: bool) -> list[Step]:
    read = (*CHILD_TYPES, EntityType.CONSUMER) if with_parent else CHILD_TYPES
    return [
        *(Step(Action.RETRIEVE, entity, phase) for entity in read),
        *(Step(Action.DELETE, entity, phase) for entity in CHILD_TYPES),
    ]


def _delete_parent(event: ProfileEvent, catalog: Catalog, phase: Phase) -> Step:
    # The parent row's key is the consumer ID; other key columns are taken from the event's parent row.
    table = catalog[EntityType.CONSUMER]
    known: Row = {"ConsumerId": event.consumer_id, **(event.consumer or {})}
    return Step(
        Action.DELETE, EntityType.CONSUMER, phase, {c: known.get(c, event.consumer_id) for c in table.primary_key}
    )
