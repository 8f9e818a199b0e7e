"""The published events: some hundred consumers, a few of them hot. Pure: a function of the seed.

Every row that an event posts carries the event's mark as a text. Marks of a consumer rise from event to event, so each
post can be assigned to one event. Parents and opt-ins also carry the mark as a date with an offset, which reconcile
compares by the type of its column. Only an UPDATE also lists rows as they were posted before. The rows of a consumer
share a few keys, so that events touch each other's rows, and they do not all name the same columns.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

# This percentage of the events comes from this number of consumers.
HOT_PERCENT, HOT_CONSUMERS = 15, 6
ROWS_KEPT = 3
MARKETS = ("DE", "FR", "PL", "IT-1")
PERMANENT_CONSUMERS = 8

# Entity -> (name of its key, column that carries the mark, column that some rows have).
_ENTITIES = {
    "contact": ("ContactId", "Value", "Type"),
    "child": ("ChildId", "FirstName", "Gender"),
    "pet": ("PetId", "Name", "Species"),
    "digitalAsset": ("AssetId", "Value", "Type"),
    "interest": ("InterestId", "Code", "Score"),
    "optIn": ("OptInId", "Source", "Channel"),
}
_MARK_ZERO = datetime(2026, 1, 1, tzinfo=UTC)

_Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to publish. ``valid``: whether it is a valid event."""

    key: bytes | None
    value: bytes | None
    valid: bool = True


@dataclass(slots=True)
class _Consumer:
    id: str
    market: str
    marks: int = 0
    # Entity -> key -> row as it was posted last.
    rows: dict[str, dict[str, _Row]] = field(default_factory=dict)


def consumer_ids(seed: int, consumers: int) -> list[str]:
    """All consumers of a run, the hot ones first."""
    return [f"c{seed}-{number}" for number in range(consumers)]


def permanent_consumers(seed: int, consumers: int) -> list[str]:
    """Consumers whose events may be made to fail for good; none of them is hot."""
    return consumer_ids(seed, consumers)[-PERMANENT_CONSUMERS:]


def drafts(seed: int, count: int, consumers: int, hot_percent: int = HOT_PERCENT) -> Iterator[Draft]:
    """``count`` records in publishing order; about 4.5 calls each, some hot consumers, some records invalid."""
    rng = random.Random(seed)
    people = [_Consumer(one, rng.choice(MARKETS)) for one in consumer_ids(seed, consumers)]
    for _ in range(count):
        hot = rng.randrange(100) < hot_percent
        person = people[rng.randrange(HOT_CONSUMERS) if hot else rng.randrange(consumers)]
        yield _next(rng, person)


def _next(rng: random.Random, person: _Consumer) -> Draft:
    person.marks += 1
    key = person.id.encode()
    kind = rng.randrange(100) if person.marks > 1 else 0  # a consumer's first event is a NEW
    if kind < 52:
        return Draft(key, _encoded(_post(rng, person, "NEW")))
    if kind < 76:
        document = _post(rng, person, "UPDATE")
        listed = document["entities"]
        for name, known in person.rows.items():
            if known and rng.random() < 0.3:
                kept = rng.choice(list(known.values()))
                if _key_of(name, kept) not in [_key_of(name, row) for row in listed.get(name, [])]:
                    listed.setdefault(name, []).append(kept)
        person.rows = {name: {_key_of(name, row): row for row in rows} for name, rows in listed.items()}
        return Draft(key, _encoded(document))
    if kind < 88:
        gone = {
            name: [_row(name, one) for one in rng.sample(list(known), 1)]
            for name, known in person.rows.items()
            if known
        } or {"pet": [_row("pet", "k0")]}  # a row that is gone already
        for name, rows in gone.items():
            for row in rows:
                person.rows.get(name, {}).pop(_key_of(name, row), None)
        return Draft(key, _encoded(_base(person, "DELETE") | {"deleteScope": "ENTITIES", "entities": gone}))
    if kind < 93:
        person.rows = {}
        return Draft(key, _encoded(_base(person, "DELETE") | {"deleteScope": "PROFILE"}))
    if kind < 95:
        person.rows = {}
        return Draft(key, None)
    return _invalid(rng, person, key)


def _invalid(rng: random.Random, person: _Consumer, key: bytes) -> Draft:
    document = _post(rng, person, "NEW", keep=False)
    match rng.randrange(5):
        case 0:
            return Draft(key, b"{ not JSON", valid=False)
        case 1:
            return Draft(None, _encoded(document), valid=False)
        case 2:
            return Draft(b"another-" + key, _encoded(document), valid=False)
        case 3:
            document["consumer"]["NoSuchColumn"] = "x"
            return Draft(key, _encoded(document), valid=False)
        case _:
            return Draft(key, _encoded(document | {"operation": "MERGE"}), valid=False)


def _base(person: _Consumer, operation: str) -> dict[str, Any]:
    return {
        "eventId": f"{person.id}-{person.marks:06}",
        "operation": operation,
        "consumerId": person.id,
        "market": person.market,
        "occurredAt": "2026-11-21T10:00:00Z",
    }


def _post(rng: random.Random, person: _Consumer, operation: str, *, keep: bool = True) -> dict[str, Any]:
    mark = f"{person.marks:06}"
    names = rng.sample(list(_ENTITIES), rng.choice((0, 1, 1, 2)))
    entities = {}
    for name in names:
        one = f"k{rng.randrange(ROWS_KEPT)}"
        row = _row(name, one) | {_ENTITIES[name][1]: mark}
        if rng.random() < 0.4:
            row[_ENTITIES[name][2]] = f"{rng.randrange(3)}" if name == "interest" else f"some {rng.randrange(3)}"
        if name == "optIn":
            row["CapturedAt"] = date_of(person.marks)
        entities[name] = [row]
        if keep:
            person.rows.setdefault(name, {})[one] = row
    parent = {"ConsumerId": person.id, "FirstName": f"name {rng.randrange(50)}", "LastName": mark}
    parent["UpdatedAt"] = date_of(person.marks)
    if rng.random() < 0.3:
        parent["Language"] = rng.choice(("de", "fr", "pl"))
    return _base(person, operation) | {"consumer": parent, "entities": entities}


def date_of(mark: int) -> str:
    """A Date column tells whole seconds apart."""
    return (_MARK_ZERO + timedelta(seconds=mark)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(name: str, key: str) -> _Row:
    return {_ENTITIES[name][0]: key}


def _key_of(name: str, row: _Row) -> str:
    return row[_ENTITIES[name][0]]


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
