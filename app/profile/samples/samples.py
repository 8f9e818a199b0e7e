"""Realistic sample events: the same seed gives the same events on every machine. Pure.

A consumer's events make sense in their order. NEW comes first. UPDATE changes something in the state before it. DELETE
ENTITIES names rows that exist. After DELETE PROFILE, only a NEW can follow. Rows have the columns of the bundled
``data-extensions.json``. All persons are invented.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.profile.entities import CHILD_TYPES, EntityType, Row
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.samples.sample_markets import MARKETS
from app.profile.samples.sample_profiles import SampleConsumer, time_text, uuid_text

START = datetime(2026, 1, 1, 8, tzinfo=UTC)

# Unless the number of consumers is given, this percentage of the events brings a new consumer, and only this many of
# the latest consumers are remembered. So a stream of any length needs the same memory, and a shorter stream is the
# beginning of a longer one.
NEW_CONSUMERS_PERCENT = 30
REMEMBERED = 2000


def sample_events(count: int, seed: int = 0, consumers: int | None = None) -> Iterator[ProfileEvent]:
    """``count`` events, in an order in which they may be published.

    Event and consumer IDs are UUIDs drawn from the seed; ``occurredAt`` rises strictly from event to event.
    ``consumers``: the events are of at most this many consumers; None: new consumers keep coming.

    Raises:
        ValueError: ``consumers`` is not positive.
    """
    if consumers is not None and consumers < 1:
        raise ValueError(f"consumers must be at least 1, not {consumers}")
    rng = random.Random(seed)  # noqa: S311 - invented people, no secrets
    known: OrderedDict[int, SampleConsumer] = OrderedDict()
    now = START
    for _ in range(count):
        now += timedelta(milliseconds=rng.randint(1, 4000))
        yield _next_event(rng, _next_consumer(rng, known, consumers), now)


def to_json(event: ProfileEvent) -> dict[str, Any]:
    """The event as a JSON document, with the field names of the wire; absent fields are left out.

    Raises:
        ValueError: a number has more digits than a float keeps.
    """
    document: dict[str, Any] = {
        "eventId": event.event_id,
        "operation": event.operation.value,
        "consumerId": event.consumer_id,
        "market": event.market,
        "occurredAt": event.occurred_at,
    }
    if event.consumer is not None:
        document["consumer"] = _plain(event.consumer)
    if event.entities:
        document["entities"] = {entity.value: [_plain(row) for row in rows] for entity, rows in event.entities.items()}
    if event.delete_scope is not None:
        document["deleteScope"] = event.delete_scope.value
    return document


def _plain(row: Row) -> dict[str, Any]:
    return {column: _number(value) if isinstance(value, Decimal) else value for column, value in row.items()}


def _number(value: Decimal) -> float:
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError("a number of the event has more digits than a float holds")
    return number


def _next_consumer(
    rng: random.Random, known: OrderedDict[int, SampleConsumer], consumers: int | None
) -> SampleConsumer:
    if consumers is not None:
        number = rng.randrange(consumers)
    elif not known or rng.randrange(100) < NEW_CONSUMERS_PERCENT:
        number = next(reversed(known)) + 1 if known else 0
    else:
        number = rng.randrange(next(iter(known)), next(reversed(known)) + 1)
    if number not in known:
        market = rng.choices(MARKETS, weights=[market.weight for market in MARKETS])[0]
        known[number] = SampleConsumer(uuid_text(rng), market, number)
        if consumers is None and len(known) > REMEMBERED:
            known.popitem(last=False)
    return known[number]


def _next_event(rng: random.Random, consumer: SampleConsumer, now: datetime) -> ProfileEvent:
    if not consumer.exists:
        consumer.appear(rng, now)
        return _event(rng, consumer, now, Operation.NEW, consumer.rows)
    kind = rng.randrange(100)
    if kind < 8:
        consumer.vanish()
        return _event(rng, consumer, now, Operation.DELETE, {}, DeleteScope.PROFILE)
    if kind < 20 and any(consumer.rows.values()):
        return _event(rng, consumer, now, Operation.DELETE, consumer.remove_some(rng), DeleteScope.ENTITIES)
    consumer.change(rng, now)
    return _event(rng, consumer, now, Operation.UPDATE, consumer.rows)


def _event(
    rng: random.Random,
    consumer: SampleConsumer,
    now: datetime,
    operation: Operation,
    rows: Mapping[EntityType, Sequence[Row]],
    scope: DeleteScope | None = None,
) -> ProfileEvent:
    # Copies, because the consumer's own rows change later.
    return ProfileEvent(
        event_id=uuid_text(rng),
        operation=operation,
        consumer_id=consumer.consumer_id,
        market=consumer.market.code,
        occurred_at=time_text(now),
        consumer=None if operation is Operation.DELETE else dict(consumer.parent),
        entities={entity: tuple(dict(row) for row in rows[entity]) for entity in CHILD_TYPES if rows.get(entity)},
        delete_scope=scope,
    )
