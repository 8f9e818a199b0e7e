"""Sample events: the same for everybody, fit to be published, and such as consumers would cause."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise

import pytest

from app.delivery.record import SourceRecord
from app.profile.entities import Catalog, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.event_reader import read_event
from app.profile.samples.samples import sample_events, to_json

MANY = list(sample_events(3000, seed=2))


def test_same_seed_same_events_another_seed_others() -> None:
    assert list(sample_events(50, seed=1)) == list(sample_events(50, seed=1))
    assert list(sample_events(50, seed=1)) != list(sample_events(50, seed=2))


def test_the_first_event_of_a_seed_is_the_same_on_every_machine() -> None:
    first = next(sample_events(1, seed=0))
    assert (first.event_id, first.consumer_id) == (
        "a3f2c9bf-9c63-46b9-90f2-44556f25e2a2",
        "42485e3a-0a5d-4f34-abaa-9455e3e70682",
    )


def test_a_shorter_stream_is_the_beginning_of_a_longer_one() -> None:
    assert list(sample_events(40, seed=2)) == MANY[:40]


def test_every_event_is_accepted_with_the_bundled_data_extensions(catalog: Catalog) -> None:
    for event in MANY:
        value = json.dumps(to_json(event)).encode()
        assert read_event(SourceRecord("t", 0, 0, 0, event.consumer_id.encode(), value), catalog) == event


def test_ids_are_unique_and_time_goes_on() -> None:
    assert len({event.event_id for event in MANY}) == len(MANY)
    assert all(earlier.occurred_at < later.occurred_at for earlier, later in pairwise(MANY))


def test_a_consumer_keeps_its_market() -> None:
    markets = defaultdict(set)
    for event in MANY:
        markets[event.consumer_id].add(event.market)
    assert all(len(of_one) == 1 for of_one in markets.values())


def test_events_of_a_consumer_make_sense_in_their_order(catalog: Catalog) -> None:
    held: dict[str, dict[EntityType, dict[str, object]]] = {}
    for event in sample_events(2000, seed=4, consumers=60):
        ids = {e: {str(r[catalog[e].primary_key[-1]]): dict(r) for r in rows} for e, rows in event.entities.items()}
        before = held.get(event.consumer_id)
        match event.operation, event.delete_scope:
            case Operation.NEW, None:
                assert before is None
                held[event.consumer_id] = ids
            case Operation.UPDATE, None:
                assert before is not None
                held[event.consumer_id] = ids
            case Operation.DELETE, DeleteScope.PROFILE:
                assert held.pop(event.consumer_id, None) is not None
            case _:
                assert before is not None
                for entity, rows in ids.items():
                    for row_id in rows:
                        assert before[entity].pop(row_id, None) is not None


def test_an_update_changes_some_things_and_keeps_others() -> None:
    latest: dict[str, ProfileEvent] = {}
    kept_rows = changed_rows = same = 0
    for event in sample_events(1000, seed=4, consumers=40):
        before = latest.get(event.consumer_id)
        if event.operation is Operation.UPDATE and before is not None and before.operation is not Operation.DELETE:
            old, new = ({str(row): row for _, row in one.rows()} for one in (before, event))
            kept_rows += len(old.keys() & new.keys())
            changed_rows += len(old.keys() ^ new.keys())
            same += before.rows() == event.rows() and before.consumer == event.consumer
        latest[event.consumer_id] = event
    assert same == 0
    assert kept_rows > 2 * changed_rows > 0


def test_a_row_id_is_never_used_for_another_row_after_a_deletion(catalog: Catalog) -> None:
    gone: set[tuple[str, EntityType, str]] = set()
    for event in sample_events(2000, seed=9, consumers=40):
        ids = {
            (event.consumer_id, e, str(r[catalog[e].primary_key[-1]]))
            for e, rows in event.entities.items()
            for r in rows
        }
        if event.delete_scope is DeleteScope.ENTITIES:
            gone |= ids
        else:
            assert not gone & ids


def test_the_mix_has_all_there_is() -> None:
    kinds = Counter((event.operation, event.delete_scope) for event in MANY)
    assert set(kinds) == {
        (Operation.NEW, None),
        (Operation.UPDATE, None),
        (Operation.DELETE, DeleteScope.ENTITIES),
        (Operation.DELETE, DeleteScope.PROFILE),
    }
    assert min(kinds.values()) > len(MANY) * 0.03
    assert kinds[Operation.UPDATE, None] > len(MANY) * 0.4
    assert {event.market for event in MANY} == {"DE", "FR", "GB", "IT", "ES", "PL", "US", "JP"}
    children = Counter(len(event.entities.get(EntityType.CHILD, ())) for event in MANY if event.consumer)
    assert set(children) == {0, 1, 2, 3, 4}
    assert {entity for event in MANY for entity in event.entities} == set(EntityType) - {EntityType.CONSUMER}
    values = [value for event in MANY for _, row in event.rows() for value in row.values()]
    assert {type(value) for value in values} == {str, int, bool, Decimal, type(None)}


def test_addresses_are_nobodys() -> None:
    text = json.dumps([to_json(event) for event in MANY])
    domains = set(re.findall(r"@([A-Za-z0-9.-]+)", text))
    assert domains == {"example.com", "example.org", "example.net"}
    local_parts = set(re.findall(r'"([^"@]+)@', text))
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+\.[0-9]+", part) for part in local_parts)


def test_number_of_consumers_can_be_given() -> None:
    assert len({event.consumer_id for event in sample_events(500, seed=1, consumers=7)}) == 7
    assert len({event.consumer_id for event in sample_events(5, seed=1, consumers=10_000)}) == 5


@pytest.mark.parametrize("consumers", [0, -1])
def test_number_of_consumers_must_be_positive(consumers: int) -> None:
    with pytest.raises(ValueError, match="consumers must be at least 1"):
        next(sample_events(1, consumers=consumers))


def test_no_events() -> None:
    assert list(sample_events(0)) == []


def test_json_leaves_out_what_is_absent_but_keeps_nulls_in_rows() -> None:
    event = ProfileEvent(
        event_id="e",
        operation=Operation.NEW,
        consumer_id="c",
        market="DE",
        occurred_at="2026-01-01T00:00:00Z",
        consumer={"ConsumerId": "c", "Gender": None},
    )
    assert to_json(event) == {
        "eventId": "e",
        "operation": "NEW",
        "consumerId": "c",
        "market": "DE",
        "occurredAt": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": "c", "Gender": None},
    }


def test_a_number_that_would_lose_digits_is_refused() -> None:
    event = MANY[0].model_copy(update={"consumer": {"FirstName": Decimal("0.12345678901234567890")}})
    with pytest.raises(ValueError, match="more digits"):
        to_json(event)
