"""The events of the deck "letters". Pure: a function of the seed.

Each event states a consumer completely: one parent row and one pet, both with the event's mark. Some delete the
profile, some are invalid. So what must be held at the end follows from the newest event that was written.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from tests.chaos.events import Draft

MARKETS = ("DE", "FR")
DELETES, INVALID = 4, 3  # of every 100 events


def consumer_ids(seed: int, consumers: int) -> list[str]:
    """All consumers of a run."""
    return [f"l{seed}-{number}" for number in range(consumers)]


def drafts(seed: int, count: int, consumers: int) -> Iterator[Draft]:
    """``count`` records in publishing order. The mark of an event is its number."""
    rng = random.Random(seed)
    ids = consumer_ids(seed, consumers)
    for mark in range(count):
        consumer = rng.choice(ids)
        kind = rng.randrange(100)
        yield _draft(mark, consumer, kind)


def _draft(mark: int, consumer: str, kind: int) -> Draft:
    event = {
        "eventId": f"m{mark}",
        "operation": "UPDATE",
        "consumerId": consumer,
        "market": MARKETS[hash_of(consumer) % len(MARKETS)],
        "occurredAt": "2026-11-21T10:00:00Z",
    }
    if kind < DELETES:
        event |= {"operation": "DELETE", "deleteScope": "PROFILE"}
    elif kind < DELETES + INVALID:
        event |= {"operation": "MERGE"}
    else:
        rows = {"pet": [{"PetId": "p", "Name": f"m{mark}"}]}
        event |= {"consumer": {"ConsumerId": consumer, "LastName": f"m{mark}"}, "entities": rows}
    valid = not DELETES <= kind < DELETES + INVALID
    return Draft(consumer.encode(), json.dumps(event).encode(), valid)


def hash_of(consumer: str) -> int:
    """A number that is the same in every process."""
    return sum(consumer.encode())


def mark_of(event_id: str) -> int:
    """The mark of an event."""
    return int(event_id.removeprefix("m"))
