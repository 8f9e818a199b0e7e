"""Consumers as the API and the command show them, from their consumer records and parked events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from app.delivery.consumer_record import ConsumerState
from app.delivery.partition_record import PartitionState
from app.profile.consumer_history import RECENT_KEPT
from app.readmodels.consumer_index import ConsumerPage, EndedConsumer


class ParkedView(TypedDict):
    """A parked event. ``attempts``: 0 if it only waits behind an earlier event of its consumer."""

    id: str
    eventId: str
    attempts: int
    dueAt: str | None
    reason: str | None
    firstFailedAt: str | None


class RecentView(TypedDict):
    """A settled event. ``entity``: what failed."""

    eventId: str
    operation: str
    outcome: str
    reason: str | None
    entity: str | None
    attempts: int
    settledAt: str | None


class ConsumerView(TypedDict):
    """What is known about a consumer. ``last...``: the event that was settled last; ``recent`` begins with it."""

    consumerId: str
    market: str | None
    lastEventId: str | None
    lastOutcome: str | None
    lastReason: str | None
    lastEntity: str | None
    lastSyncedAt: str | None
    parked: list[ParkedView]
    recent: list[RecentView]


class EndedView(TypedDict):
    """A consumer in a list. ``last...``: the event that was settled last; ``lastEntity``: what of it failed."""

    consumerId: str
    market: str
    lastEventId: str
    lastOperation: str
    lastOutcome: str
    lastReason: str | None
    lastEntity: str | None
    lastSettledAt: str | None


def ended_view(ended: EndedConsumer) -> EndedView:
    """A consumer in a list."""
    last = ended.last
    return EndedView(
        consumerId=ended.consumer_id,
        market=ended.market,
        lastEventId=last.event_id,
        lastOperation=last.operation,
        lastOutcome=last.outcome,
        lastReason=last.reason,
        lastEntity=last.entity or None,
        lastSettledAt=iso_time(last.settled_ms),
    )


def ended_page_view(page: ConsumerPage) -> dict[str, Any]:
    """A page of a list. ``next``: the cursor of the next one."""
    return {"items": [ended_view(one) for one in page.items], "next": page.next}


def consumer_view(
    consumer_id: str, known: Iterable[tuple[int, ConsumerState]], partitions: Mapping[int, PartitionState]
) -> ConsumerView | None:
    """The view of a consumer; None if it has no record and no parked event.

    A consumer has records on several partitions only if producers partition differently. Then the market is taken from
    the newest record.
    """
    records = sorted((state for _, state in known), key=_newest, reverse=True)
    parked = [
        ParkedView(
            id=f"{partition}-{offset}",
            eventId=event.event_id,
            attempts=event.attempts,
            dueAt=iso_time(event.due_ms),
            reason=event.reason or None,
            firstFailedAt=iso_time(event.first_failed_ms),
        )
        for partition, state in sorted(partitions.items())
        for offset, event in sorted(state.parked.items())
        if event.consumer == consumer_id
    ]
    if not records and not parked:
        return None
    recent = sorted((e for record in records for e in record.recent), key=lambda e: e.settled_ms, reverse=True)
    last = recent[0] if recent else None
    synced = max((record.synced_ms for record in records if record.synced_ms is not None), default=None)
    return ConsumerView(
        consumerId=consumer_id,
        market=records[0].market if records else None,
        lastEventId=last.event_id if last else None,
        lastOutcome=last.outcome if last else None,
        lastReason=last.reason if last else None,
        lastEntity=(last.entity or None) if last else None,
        lastSyncedAt=iso_time(synced),
        parked=parked,
        recent=[
            RecentView(
                eventId=event.event_id,
                operation=event.operation,
                outcome=event.outcome,
                reason=event.reason,
                entity=event.entity or None,
                attempts=event.attempts,
                settledAt=iso_time(event.settled_ms),
            )
            for event in recent[:RECENT_KEPT]
        ],
    )


def without_history(consumer_id: str) -> ConsumerView:
    """The view of a consumer of whom only dead letters are known, because no event was valid."""
    return ConsumerView(
        consumerId=consumer_id,
        market=None,
        lastEventId=None,
        lastOutcome=None,
        lastReason=None,
        lastEntity=None,
        lastSyncedAt=None,
        parked=[],
        recent=[],
    )


def iso_time(ms: int | None) -> str | None:
    """Milliseconds since 1970 as ISO 8601 in UTC; None for 0 or None.

    >>> iso_time(1_795_000_000_123)
    '2026-11-18T11:06:40.123Z'
    """
    if not ms:
        return None
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _newest(state: ConsumerState) -> int:
    return max((event.settled_ms for event in state.recent), default=0)
