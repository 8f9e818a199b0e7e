"""What a dry run says of one dead letter."""

from __future__ import annotations

import json
from typing import Any

from app.bundled import schema_path
from app.delivery.consumer_record import ConsumerState, DeletedRow, FullState
from app.delivery.record import SourceRecord
from app.profile.catalog_file import parse_catalog
from app.profile.redrive_forecast import Fate, Forecast, forecast

CATALOG = parse_catalog(schema_path("data-extensions.json").read_bytes())
LATER = ConsumerState(9, "DE", full=FullState(9, "UPDATE", "e-9", "DE"))


def record(value: bytes | None = None, **changes: Any) -> SourceRecord:
    event = {
        "eventId": "e-1",
        "operation": "UPDATE",
        "consumerId": "C-1",
        "market": "DE",
        "occurredAt": "2026-11-21T10:00:00Z",
        "consumer": {"ConsumerId": "C-1"},
        "entities": {"pet": [{"PetId": "P-1"}, {"PetId": "P-2"}]},
    } | changes
    return SourceRecord("main", 0, 5, 0, b"C-1", json.dumps(event).encode() if value is None else value)


def seen(event: SourceRecord | None, state: ConsumerState | None = None, *, force: bool = False) -> Forecast:
    return forecast(event, state, CATALOG, force=force)


def test_an_event_that_nothing_has_superseded_is_sent() -> None:
    assert seen(record()) == Forecast(Fate.SEND, "UPDATE")


def test_a_later_state_supersedes_it_unless_forced() -> None:
    assert seen(record(), LATER) == Forecast(Fate.SUPERSEDED, "a later UPDATE (event e-9) has been written")
    assert seen(record(), LATER, force=True).fate is Fate.SEND


def test_rows_that_were_deleted_since_are_named_by_their_entity() -> None:
    state = ConsumerState(9, "DE", deleted=(DeletedRow(8, "pet", ("P-1",)),))
    assert seen(record(), state) == Forecast(Fate.SEND, "UPDATE without rows that were deleted since: 1 pet")


def test_bytes_that_are_gone_never_count_as_a_null_value() -> None:
    assert seen(None).fate is Fate.VALUE_GONE


def test_an_event_that_is_still_invalid_says_why_without_values() -> None:
    found = seen(record(b'{"secret": "Ann"'))
    assert (found.fate, found.detail.split(":")[0]) == (Fate.INVALID, "EVENT-NOT-JSON")
    assert "Ann" not in found.detail
    assert seen(record(consumerId="C-2")).detail.startswith("EVENT-KEY-MISMATCH")


def test_a_null_value_deletes_in_the_market_of_the_consumer() -> None:
    deletion = SourceRecord("main", 0, 5, 0, b"C-1", None)
    assert seen(deletion, ConsumerState(3, "FR")) == Forecast(Fate.SEND, "DELETE")
    assert seen(deletion, LATER).fate is Fate.SUPERSEDED
