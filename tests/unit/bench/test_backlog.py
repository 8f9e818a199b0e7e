"""The events that all programs get."""

from __future__ import annotations

from itertools import islice

from app.delivery.record import SourceRecord
from app.flows.catalog import load_catalog
from app.profile.event import Operation
from app.profile.event_reader import read_event
from bench.backlog import events


def test_every_event_is_one_row_to_write() -> None:
    catalog = load_catalog(None)
    for offset, (key, value) in enumerate(events(300, consumers=50)):
        event = read_event(SourceRecord("events", 0, offset, 0, key, value), catalog)

        assert event.operation is Operation.NEW
        assert not event.entities
        assert event.consumer is not None
        assert event.consumer_id.encode() == key


def test_so_many_consumers_and_no_event_twice() -> None:
    found = list(events(2_000, consumers=50))

    assert len({key for key, _ in found}) == 50
    assert len({value for _, value in found}) == 2_000


def test_the_same_events_every_time() -> None:
    assert list(events(100)) == list(islice(events(200), 100))
