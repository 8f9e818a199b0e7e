"""Made-up evidence of a run in which everything is right; tests break one thing at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.bundled import schema_path
from app.delivery.outcome import InvalidEvent, Outcome
from app.delivery.record import SourceRecord
from app.profile.catalog_file import parse_catalog
from app.profile.entities import CHILD_TYPES, EntityType, as_text
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.event_reader import read_event
from app.profile.holdings.projection import Rows, apply, expected_rows
from app.profile.plan import Action, narrow, plan_reconcile
from tests.chaos.event_calls import Strategy
from tests.chaos.evidence import Answers, DeadLetter, Evidence, Source
from tests.support.deployment import without_nulls
from tests.support.simulator_probe import Call

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
DAY, MARKET = "2026-11-21", "DE"
BEGAN = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()
CALL_SECONDS = 0.1


def post(operation: str, consumer: str, mark: int, **entities: Any) -> dict[str, Any]:
    """NEW or UPDATE; the mark makes its posts its own."""
    parent = {"ConsumerId": consumer, "UpdatedAt": f"{mark:03}"}
    return _event(consumer, mark, operation) | {"consumer": parent, "entities": entities}


def pet(key: str, name: str) -> list[dict[str, str]]:
    return [{"PetId": key, "Name": name}]


def delete_profile(consumer: str, mark: int) -> dict[str, Any]:
    return _event(consumer, mark, "DELETE") | {"deleteScope": "PROFILE"}


def delete_pet(consumer: str, mark: int, key: str) -> dict[str, Any]:
    return _event(consumer, mark, "DELETE") | {"deleteScope": "ENTITIES", "entities": {"pet": [{"PetId": key}]}}


def invalid(consumer: str, mark: int) -> dict[str, Any]:
    return _event(consumer, mark, "MERGE")


def _event(consumer: str, mark: int, operation: str) -> dict[str, Any]:
    return {
        "eventId": f"{consumer}-{mark}",
        "operation": operation,
        "consumerId": consumer,
        "market": MARKET,
        "occurredAt": "2026-11-21T10:00:00Z",
    }


DOCUMENTS = (
    post("NEW", "ann", 1, pet=pet("p1", "a")),
    post("NEW", "bob", 1),
    post("UPDATE", "ann", 2, pet=pet("p2", "b")),
    invalid("ann", 3),
    post("NEW", "bob", 2, pet=pet("p1", "c")),
    delete_pet("ann", 4, "p2"),
    delete_profile("bob", 3),
    post("NEW", "ann", 5),
)


def sources_of(documents: Sequence[Mapping[str, Any]] = DOCUMENTS) -> list[Source]:
    """The event as if read from partition 0."""
    found = []
    for offset, document in enumerate(documents):
        key, value = str(document["consumerId"]).encode(), json.dumps(document).encode()
        common = (0, offset, DAY, key, value, str(document["eventId"]), MARKET)
        try:
            event = read_event(SourceRecord("t", 0, offset, int(BEGAN * 1000), key, value), CATALOG)
        except InvalidEvent as problem:
            found.append(Source(*common, problem.operation, None, problem.entry.code))
        else:
            found.append(Source(*common, event.operation.value, event))
    return found


def calls_of(sources: Sequence[Source], start: int = 0, strategy: Strategy = "replace") -> list[Call]:
    """The calls of a worker that is never disturbed, event by event."""
    held: dict[str, Rows] = {}
    made: list[Call] = []
    for event in (source.event for source in sources):
        if event is None:
            continue
        before = held.get(event.consumer_id, {})
        held[event.consumer_id] = apply(before, event, CATALOG)
        made += attempt_of(event, before, strategy)
    return numbered(made, start)


def attempt_of(event: ProfileEvent, held: Rows, strategy: Strategy, *, knows_types: bool = True) -> list[Call]:
    """What a worker calls for an event whose consumer has these rows."""
    made = []
    for operation, entity, row in _STEPS[strategy](event, held if knows_types else _as_returned(held)):
        rows = ({column: as_text(value) for column, value in row.items()},) if row else ()
        made.append(Call(0, "", operation, CATALOG[entity].customer_key, event.consumer_id, "ok", rows))
    return made


def numbered(calls: Sequence[Call], start: int = 0) -> list[Call]:
    """In this order, a tenth of a second apart."""
    return [
        replace(call, seq=number, at=datetime.fromtimestamp(BEGAN + number * CALL_SECONDS, UTC).isoformat())
        for number, call in enumerate(calls, start + 1)
    ]


def _as_returned(held: Rows) -> Rows:
    """Dates as Marketing Cloud spells them; who does not know types takes them for others."""

    def returned(value: Any) -> Any:
        if not (isinstance(value, str) and value.endswith("Z")):
            return value
        return (
            datetime.fromisoformat(value).astimezone(CATALOG[EntityType.CONSUMER].zone).strftime("%m/%d/%Y %I:%M:%S %p")
        )

    return {
        entity: {key: {column: returned(value) for column, value in row.items()} for key, row in rows.items()}
        for entity, rows in held.items()
    }


# Operation, entity type, row.
_MadeCall = tuple[str, EntityType, Mapping[str, Any]]


def _steps(event: ProfileEvent, held: Rows) -> list[_MadeCall]:
    lookups: list[_MadeCall] = [("Retrieve", entity, {}) for entity in CHILD_TYPES]
    rows = [(entity, row) for entity in CHILD_TYPES for row in held.get(entity, {}).values()]
    deletes = [("Delete", entity, CATALOG[entity].key_of(row)) for entity, row in rows]
    if event.operation is Operation.DELETE:
        if event.delete_scope is DeleteScope.ENTITIES:
            return [("Delete", entity, CATALOG[entity].key_of(row)) for entity, row in event.rows()]
        parent: _MadeCall = ("Retrieve", EntityType.CONSUMER, {})
        return [*lookups, parent, *deletes, ("Delete", EntityType.CONSUMER, {"ConsumerId": event.consumer_id})]
    posts = [("Update", EntityType.CONSUMER, event.consumer or {}), *(("Update", *one) for one in event.rows())]
    return [*lookups, *deletes, *posts] if event.operation is Operation.UPDATE else posts


def _reconciling_steps(event: ProfileEvent, held: Rows) -> list[_MadeCall]:
    """The calls that the program itself plans; the verdict derives them independently."""
    steps = plan_reconcile(event, CATALOG)
    if event.operation is Operation.DELETE:
        return _steps(event, held)
    there = event.operation is Operation.UPDATE or held.get(EntityType.CONSUMER)
    reads = [s.entity for s in steps if s.action is Action.RETRIEVE and (there or s.entity.is_parent)]
    found = {entity: list(held.get(entity, {}).values()) for entity in reads}
    writes = [step for step in narrow(steps, found, CATALOG) if step.action is not Action.KEEP]
    operations = {Action.UPSERT: "Update", Action.DELETE: "Delete"}
    return [
        *(("Retrieve", entity, {}) for entity in reads),
        *((operations[step.action], step.entity, step.row or {}) for step in writes),
    ]


_STEPS: Mapping[Strategy, Callable[[ProfileEvent, Rows], list[_MadeCall]]] = {
    "replace": _steps,
    "reconcile": _reconciling_steps,
}


def evidence(documents: Sequence[Mapping[str, Any]] = DOCUMENTS, strategy: Strategy = "replace") -> Evidence:
    """A run without faults of the CMT, seen when it is over."""
    sources = sources_of(documents)
    valid = [source for source in sources if source.event is not None]
    return Evidence(
        strategy=strategy,
        with_faults=False,
        published=[(source.key, source.value) for source in sources],
        sources=sources,
        calls=calls_of(sources, strategy=strategy),
        rows=without_nulls(expected_rows([source.event for source in valid if source.event], CATALOG)),
        answers={0: _answers(sources)},
        consumers={one: _view(sources, one) for one in {source.consumer or "" for source in sources}},
        dead_letters=[
            DeadLetter(source.position, source.reason or "", source.key, source.value)
            for source in sources
            if source.event is None
        ],
        lags={},
        done=[],
    )


def _answers(sources: Sequence[Source]) -> Answers:
    outcomes = Counter("synced" if source.event else "invalid" for source in sources)
    counts: dict[str, Any] = {outcome.value: outcomes[outcome.value] for outcome in Outcome}
    records: Counter[tuple[str, str]] = Counter()
    held: dict[str, Rows] = {}
    for source in sources:
        if (event := source.event) is None:
            continue
        before = held.get(event.consumer_id, {})
        for operation, entity, _row in _steps(event, before):
            wanted = operation == "Update" or (operation == "Delete" and event.operation is Operation.DELETE)
            records[entity.value, event.operation.value] += wanted
        held[event.consumer_id] = apply(before, event, CATALOG)
    reasons = Counter((source.operation, source.reason) for source in sources if source.event is None)
    return Answers(
        totals={**counts, "events": len(sources), "parked": 0, "complete": True},
        daily=[{"day": DAY, "market": MARKET, **counts}],
        records=[
            {"day": DAY, "market": MARKET, "entity": entity, "operation": operation, "synced": number, "failed": 0}
            for (entity, operation), number in records.items()
            if number
        ],
        failures=[
            {"day": DAY, "market": MARKET, "entity": "event", "operation": operation, "reason": reason, "count": n}
            for (operation, reason), n in reasons.items()
        ],
    )


def _view(sources: Sequence[Source], consumer: str) -> dict[str, Any]:
    mine = [source for source in sources if source.consumer == consumer]
    recent = [{"eventId": s.event_id, "outcome": "synced" if s.event else "invalid"} for s in mine]
    return {"parked": [], "recent": recent[::-1][:5]}
