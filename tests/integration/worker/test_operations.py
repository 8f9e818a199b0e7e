"""Each operation and scope, from a Kafka record to the rows of Marketing Cloud."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.profile.entities import EntityType
from tests.support.deployment import Deployment, Published, without_nulls
from tests.support.profiles import (
    contact,
    delete_entities,
    delete_profile,
    fresh_consumer,
    fresh_market,
    new,
    pet,
    update,
)
from tests.support.worker_process import WorkerProcess

ALL_TYPES: dict[str, Any] = {
    "contact": [contact("k1", Type="Email", Value="ann@example.com", IsPrimary=True)],
    "child": [{"ChildId": "c1", "FirstName": "Kim"}],
    "pet": [pet("p1", Name="Rex", WeightKg=12.5), pet("p2", Name="Tom")],
    "digitalAsset": [{"AssetId": "a1", "Type": "Cookie", "Value": "x"}],
    "interest": [{"InterestId": "i1", "Code": "FOOD", "Score": 7}],
    "optIn": [{"OptInId": "o1", "Channel": "Email", "Status": "In"}],
}
POSTS = [
    "Update CMT_Consumer",
    "Update CMT_Contact",
    "Update CMT_Child",
    "Update CMT_Pet",
    "Update CMT_Pet",
    "Update CMT_DigitalAsset",
    "Update CMT_Interest",
    "Update CMT_OptIn",
]
RETRIEVES = [
    "Retrieve CMT_Contact",
    "Retrieve CMT_Child",
    "Retrieve CMT_Pet",
    "Retrieve CMT_DigitalAsset",
    "Retrieve CMT_Interest",
    "Retrieve CMT_OptIn",
]
DELETES = [
    "Delete CMT_Contact",
    "Delete CMT_Child",
    "Delete CMT_Pet",
    "Delete CMT_Pet",
    "Delete CMT_DigitalAsset",
    "Delete CMT_Interest",
    "Delete CMT_OptIn",
]


def assert_rows_are_those_of(deployment: Deployment, consumer: str, *published: Published) -> None:
    held = deployment.simulator.rows(deployment.catalog, consumer)
    assert without_nulls(held) == without_nulls(deployment.expected(published))


def test_new_posts_the_parent_and_then_every_entity_one_call_each(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, **ALL_TYPES)
    [published] = shared.publish(event)
    ended = shared.outcome(worker, event)
    assert (ended["operation"], ended["outcome"], ended["reason"], ended["attempts"]) == ("NEW", "synced", None, 1)
    assert shared.simulator.said(consumer) == POSTS
    assert_rows_are_those_of(shared, consumer, published)
    assert shared.market_counts(worker, market) == {"synced": 1}


def test_update_deletes_the_old_rows_and_posts_the_new_ones(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    first = new(consumer, market, **ALL_TYPES)
    second = update(consumer, market, name="Eve", pet=[pet("p2", Name="Tim"), pet("p3", Name="Leo")])
    published = shared.publish(first, second)
    assert shared.outcome(worker, second)["outcome"] == "synced"
    said = shared.simulator.said(consumer)
    assert said == [*POSTS, *RETRIEVES, *DELETES, "Update CMT_Consumer", "Update CMT_Pet", "Update CMT_Pet"]
    assert_rows_are_those_of(shared, consumer, *published)
    assert shared.market_counts(worker, market, events=2) == {"synced": 2}


def test_records_are_counted_by_entity_and_operation(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    first = new(consumer, market, pet=[pet("p1"), pet("p2")], contact=[contact("k1")])
    last = delete_profile(consumer, market)
    shared.publish(first, update(consumer, market, pet=[pet("p1")]), last)
    assert shared.market_counts(worker, market, events=3) == {"synced": 3}
    assert shared.record_counts(worker, market) == {
        "consumer NEW": (1, 0),
        "contact NEW": (1, 0),
        "pet NEW": (2, 0),
        "consumer UPDATE": (1, 0),
        "pet UPDATE": (1, 0),
        "pet DELETE": (1, 0),
        "consumer DELETE": (1, 0),
    }
    assert shared.failure_counts(worker, market) == {}


def test_update_of_a_consumer_that_is_not_there_creates_it(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    event = update(consumer, pet=[pet("p1", Name="Rex")])
    [published] = shared.publish(event)
    assert shared.outcome(worker, event)["outcome"] == "synced"
    assert shared.simulator.said(consumer) == [*RETRIEVES, "Update CMT_Consumer", "Update CMT_Pet"]
    assert_rows_are_those_of(shared, consumer, published)


def test_delete_profile_deletes_all_entities_and_then_the_parent(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    first, last = new(consumer, **ALL_TYPES), delete_profile(consumer)
    published = shared.publish(first, last)
    assert shared.outcome(worker, last)["outcome"] == "synced"
    assert shared.simulator.said(consumer) == [
        *POSTS,
        *RETRIEVES,
        "Retrieve CMT_Consumer",
        *DELETES,
        "Delete CMT_Consumer",
    ]
    assert_rows_are_those_of(shared, consumer, *published)
    assert not any(shared.simulator.rows(shared.catalog, consumer).values())


def test_delete_profile_of_an_unknown_consumer_is_synced(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    event = delete_profile(consumer)
    shared.publish(event)
    assert shared.outcome(worker, event)["outcome"] == "synced"


def test_delete_entities_deletes_the_listed_rows_only(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    last = delete_entities(consumer, pet=[pet("p1"), pet("gone-before")], optIn=[{"OptInId": "o1"}])
    published = shared.publish(new(consumer, **ALL_TYPES), last)
    assert shared.outcome(worker, last)["outcome"] == "synced"
    said = shared.simulator.said(consumer)[len(POSTS) :]
    # The row that is gone is asked for and not missed.
    assert said == ["Delete CMT_Pet", "Delete CMT_Pet error", "Delete CMT_OptIn"]
    assert_rows_are_those_of(shared, consumer, *published)
    held = shared.simulator.rows(shared.catalog, consumer)
    assert list(held[EntityType.PET]) == [(consumer, "p2")]


def test_null_value_deletes_the_profile_and_counts_for_the_consumers_last_market(
    shared: Deployment, worker: WorkerProcess
) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    [first] = shared.publish(new(consumer, market, pet=[pet("p1")]))
    [tombstone] = shared.publish_raw([(consumer.encode(), None, None)])
    assert shared.outcome(worker, tombstone.id, consumer)["operation"] == "DELETE"
    assert shared.market_counts(worker, market, events=2) == {"synced": 2}
    assert shared.record_counts(worker, market)["consumer DELETE"] == (1, 0)
    assert_rows_are_those_of(shared, consumer, first, tombstone)


def test_cloudevents_binary_mode_gives_event_id_and_time(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    document = {
        name: value for name, value in new(consumer, pet=[pet("p1")]).items() if name not in ("eventId", "occurredAt")
    }
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"cloud-4711"),
        ("ce_type", b"consumer.changed"),
        ("ce_source", b"/crm"),
        ("ce_time", b"2026-11-21T10:00:00Z"),
        ("content-type", b"application/json"),
    ]
    [published] = shared.publish_raw([(consumer.encode(), json.dumps(document).encode(), headers)])
    assert shared.outcome(worker, "cloud-4711", consumer)["outcome"] == "synced"
    assert_rows_are_those_of(shared, consumer, published)


def test_values_pass_through_unchanged(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    names = [
        "Zoë Łukasiewicz-O'Neil",
        "<b>&amp;</b>",
        "  two  spaces ",
        "日本語 😀",
        '"quoted"',
        "a\tb\nc",
        "a\r\nb\rc",
        "]]>",
    ]
    event = new(consumer, pet=[pet(f"p{number}", Name=name) for number, name in enumerate(names)])
    [published] = shared.publish(event)
    assert shared.outcome(worker, event)["outcome"] == "synced"
    held = shared.simulator.rows(shared.catalog, consumer)[EntityType.PET]
    assert [row["Name"] for row in held.values()] == names
    assert_rows_are_those_of(shared, consumer, published)


def test_null_column_empties_it(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    first = new(consumer, pet=[pet("p1", Name="Rex", WeightKg=3)])
    last = new(consumer, pet=[pet("p1", Name=None)])
    shared.publish(first, last)
    assert shared.outcome(worker, last)["outcome"] == "synced"
    [row] = without_nulls(shared.simulator.rows(shared.catalog, consumer))[EntityType.PET].values()
    assert row == {"ConsumerId": consumer, "PetId": "p1", "WeightKg": "3"}


@pytest.mark.parametrize("name", ["a|b", "0|1|c", "Zoë 😀", " spaces ", "50%/..?#", '<"&>', "x" * 230], ids=range(7))
def test_any_text_can_be_a_consumer_id(shared: Deployment, worker: WorkerProcess, name: str) -> None:
    consumer = f"{fresh_consumer()}{name}"
    first, second = new(consumer, pet=[pet("p1")]), update(consumer, pet=[pet("p2")])
    with shared.simulator.fault("server_fault", consumerId=consumer, operation="Delete", times=1):
        published = shared.publish(first, second)
        assert shared.outcome(worker, second)["attempts"] == 2
    assert_rows_are_those_of(shared, consumer, *published)


def test_events_without_a_json_value_are_retried_like_any_other(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    shared.publish(new(consumer, market, pet=[pet("p1")]))
    document = {name: value for name, value in update(consumer, market).items() if name != "eventId"}
    with shared.simulator.fault("server_fault", consumerId=consumer, operation="Retrieve", times=2):
        [cloud_event] = shared.publish_raw(
            [(consumer.encode(), json.dumps(document).encode(), [("ce_id", b"cloud-4712"), ("ce_type", b"t")])]
        )
        assert shared.outcome(worker, "cloud-4712", consumer)["attempts"] == 3
    with shared.simulator.fault("server_fault", consumerId=consumer, operation="Retrieve", times=1):
        [tombstone] = shared.publish_raw([(consumer.encode(), None, None)])
        assert shared.outcome(worker, tombstone.id, consumer)["attempts"] == 2
    assert shared.market_counts(worker, market, events=3) == {"synced": 3}
    [copy] = shared.retry_copies(tombstone)
    assert (copy.key, copy.value) == (consumer.encode(), None)
    assert dict(shared.retry_copies(cloud_event)[0].headers)["ce_id"] == b"cloud-4712"
    assert not any(shared.simulator.rows(shared.catalog, consumer).values())
