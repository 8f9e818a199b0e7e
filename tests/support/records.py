"""State records for tests, as the engine would write them."""

from __future__ import annotations

from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import FailureCount, Settlement, fold
from app.delivery.outcome import Outcome, RecordCount
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.profile.consumer_history import after_settling
from app.profile.entities import EntityType


def settlement(
    event_id: str = "e-1",
    *,
    consumer: str = "C-1",
    outcome: Outcome = Outcome.SYNCED,
    operation: str = "NEW",
    market: str = "DE",
    day: str = "2026-11-21",
    reason: str | None = None,
    records: tuple[RecordCount, ...] = (RecordCount(EntityType.CONSUMER, 1, 0),),
    failures: tuple[FailureCount, ...] = (),
) -> Settlement:
    return Settlement(
        consumer, event_id, operation, market, day, outcome, reason, 1, True, records=records, failures=failures
    )


def partition_state(*settled: Settlement, parked: dict[int, ParkedEvent] | None = None) -> PartitionState:
    state = PartitionState(upto=len(settled) - 1)
    for one in settled:
        fold(state.counts, one)
    for offset, event in (parked or {}).items():
        state.park(offset, event)
    return state


def consumer_state(offset: int = 0, settled_ms: int = 1_000, **values: str) -> ConsumerState:
    return after_settling(None, offset, settlement(**values), settled_ms)  # type: ignore[arg-type]
