"""Measures the work for an event apart from the network: decoding, planning, SOAP messages, the partition record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle

from app.bundled import schema_path
from app.cmt.prepared import PreparedWire
from app.cmt.wire import Wire
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.record import SourceRecord
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType
from app.profile.event import Operation
from app.profile.event_reader import read_event
from app.profile.plan import plan_replace
from app.profile.samples.samples import sample_events, to_json
from bench.timing import Measured, measure

EVENTS = 200
PARKED = 1_000


def run(seconds: float) -> Iterator[Measured]:
    """Measure each path for ``seconds``, one after the other."""
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    events = list(sample_events(EVENTS, seed=1))
    records = cycle(
        SourceRecord("events", 0, offset, 0, event.consumer_id.encode(), json.dumps(to_json(event)).encode())
        for offset, event in enumerate(events)
    )
    yield measure("event: decode and validate", lambda: read_event(next(records), catalog), seconds)

    planned = cycle(events)
    yield measure("event: plan", lambda: plan_replace(next(planned), catalog), seconds)

    rows = cycle(
        [
            (EntityType.CONSUMER, event.consumer)
            for event in events
            if event.operation is Operation.NEW and event.consumer
        ]
    )
    zeep, prepared = Wire(catalog), PreparedWire(catalog)
    yield measure("message: upsert of a row, zeep", lambda: zeep.upsert([next(rows)]).with_token("t"), seconds)
    yield measure("message: upsert of a row, prepared", lambda: prepared.upsert([next(rows)]).with_token("t"), seconds)

    state = PartitionState()
    yield measure("durable record: encode, nothing parked", state.encode, seconds)
    for offset in range(PARKED):
        state.park(offset, ParkedEvent(f"C-{offset}", f"event-{offset}", 1, 1_800_000_000_000))
    yield measure(f"durable record: encode, {PARKED:,} parked", state.encode, seconds)
