"""Events as producers write them, and names that are unique to a test."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

_numbers = itertools.count(1)
_run = uuid.uuid4().hex[:6]

Event = dict[str, Any]


def fresh_market() -> str:
    """A market that no other test uses, so that a test's counts are its own."""
    return f"T-{_run}-{next(_numbers)}"


def fresh_consumer(name: str = "c") -> str:
    """A consumer ID that no other test uses."""
    return f"{name}-{_run}-{next(_numbers)}"


def event(operation: str, consumer_id: str, market: str = "DE", /, **fields: Any) -> Event:
    """Any event; ``fields`` have the names of the wire."""
    return {
        "eventId": f"e-{_run}-{next(_numbers)}",
        "operation": operation,
        "consumerId": consumer_id,
        "market": market,
        "occurredAt": "2026-11-21T10:00:00Z",
        **fields,
    }


def new(consumer: str, market: str = "DE", *, name: str = "Ann", operation: str = "NEW", **entities: Any) -> Event:
    """NEW: a parent row and the given rows (``contact=[{...}]``)."""
    parent = {"ConsumerId": consumer, "FirstName": name, "EmailAddress": f"{name.lower()}@example.com"}
    return event(operation, consumer, market, consumer=parent, entities=entities)


def update(consumer: str, market: str = "DE", *, name: str = "Ann", **entities: Any) -> Event:
    """UPDATE, otherwise like ``new``."""
    return new(consumer, market, name=name, operation="UPDATE", **entities)


def delete_profile(consumer: str, market: str = "DE") -> Event:
    """DELETE of the profile."""
    return event("DELETE", consumer, market, deleteScope="PROFILE")


def delete_entities(consumer: str, market: str = "DE", **entities: Any) -> Event:
    """DELETE of the given rows."""
    return event("DELETE", consumer, market, deleteScope="ENTITIES", entities=entities)


def pet(pet_id: str, **columns: Any) -> dict[str, Any]:
    return {"PetId": pet_id, **columns}


def contact(contact_id: str, **columns: Any) -> dict[str, Any]:
    return {"ContactId": contact_id, **columns}
