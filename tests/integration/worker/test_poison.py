"""Bad input: each record ends with exactly one outcome, and other records of its partition are not affected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from app.profile.entities import EntityType
from tests.support.deployment import Deployment, Published
from tests.support.profiles import Event, contact, fresh_consumer, fresh_market, new, pet
from tests.support.worker_process import WorkerProcess, wait_for

PARTITION = 2
KEY = b"poisoned"

Headers = Sequence[tuple[str, bytes | None]]


def document(**changes: Any) -> bytes:
    """A valid event with ``changes``; a value of ``...`` leaves a field out."""
    return json.dumps(
        {name: value for name, value in {**new(KEY.decode()), **changes}.items() if value is not ...}
    ).encode()


def row(entity: str, **columns: Any) -> bytes:
    """A valid event, except for one row."""
    return document(entities={entity: [columns]})


# key, value, reason
POISONS: dict[str, tuple[bytes | None, bytes | None, str]] = {
    "not JSON": (KEY, b"{not json", "EVENT-NOT-JSON"),
    "empty value": (KEY, b"", "EVENT-NOT-JSON"),
    "JSON null": (KEY, b"null", "EVENT-NOT-JSON"),
    "JSON but no object": (KEY, b"[1, 2]", "EVENT-NOT-JSON"),
    "NaN": (KEY, document(consumer=...)[:-1] + b', "consumer": {"ConsumerId": NaN}}', "EVENT-NOT-JSON"),
    "number of 5,000 digits": (KEY, document()[:-1] + b', "x": ' + b"1" * 5000 + b"}", "EVENT-NOT-JSON"),
    "a hundred thousand brackets": (KEY, b"[" * 100_000, "EVENT-NOT-JSON"),
    "not UTF-8": (KEY, b'{"eventId": "\xff\xfe"}', "EVENT-NOT-TEXT"),
    "UTF-16": (KEY, document().decode().encode("utf-16"), "EVENT-NOT-TEXT"),
    "no key": (None, document(), "EVENT-NO-KEY"),
    "empty key": (b"", document(), "EVENT-NO-KEY"),
    "key is not UTF-8": (b"\xff\xfe", document(), "EVENT-KEY-NOT-TEXT"),
    "key is not UTF-8, no value": (b"\xff\xfe", None, "EVENT-KEY-NOT-TEXT"),
    "no key, no value": (None, None, "EVENT-NO-KEY"),
    "key differs": (b"somebody-else", document(), "EVENT-KEY-MISMATCH"),
    "key differs by a space": (b"poisoned ", document(), "EVENT-KEY-MISMATCH"),
    "key of 600 characters": (b"k" * 600, document(), "EVENT-SCHEMA"),
    "null value, key is JSON": (b'{"consumerId":"c-1"}', None, "EVENT-KEY-ENCODED"),
    "null value, key of a schema registry": (b"\0\0\0\0\7c-1", None, "EVENT-KEY-ENCODED"),
    "byte order mark": (KEY, b"\xef\xbb\xbf" + document(), "EVENT-NOT-JSON"),
    "schema registry": (KEY, b"\0\0\0\0\7" + document(), "EVENT-NOT-JSON"),
    "a member twice": (KEY, document()[:-1] + b', "market": "AT"}', "EVENT-SCHEMA"),
    "cloud event without data": (KEY, b'{"specversion": "1.0", "id": "e", "type": "t", "source": "s"}', "EVENT-SCHEMA"),
    "a megabyte of wrong rows": (
        KEY,
        row("pet", PetId="@").replace(b'{"PetId": "@"}', b"0," * 450_000 + b"0"),
        "EVENT-SCHEMA",
    ),
    "no market": (KEY, document(market=...), "EVENT-SCHEMA"),
    "market with a slash": (KEY, document(market="D/E"), "EVENT-SCHEMA"),
    "unknown operation": (KEY, document(operation="UPSERT"), "EVENT-SCHEMA"),
    "unknown field": (KEY, document(surprise=1), "EVENT-SCHEMA"),
    "unknown entity type": (KEY, row("car", CarId="1"), "EVENT-SCHEMA"),
    "nested value": (KEY, row("pet", PetId="1", Name={"first": "Rex"}), "EVENT-SCHEMA"),
    "lone surrogate in an identifier": (KEY, document(eventId="\ud800"), "EVENT-SCHEMA"),
    "empty consumerId": (KEY, document(consumerId=""), "EVENT-SCHEMA"),
    "unknown column": (KEY, row("pet", PetId="1", Wings=2), "EVENT-UNKNOWN-COLUMN"),
    "no primary key": (KEY, row("pet", Name="Rex"), "EVENT-MISSING-KEY-COLUMN"),
    "empty primary key": (KEY, row("pet", PetId=""), "EVENT-MISSING-KEY-COLUMN"),
    "row of another consumer": (KEY, row("pet", PetId="1", ConsumerId="bob"), "EVENT-FOREIGN-ROW"),
}


def between_good_ones(
    shared: Deployment,
    worker: WorkerProcess,
    key: bytes | None,
    value: bytes | None,
    headers: Headers | None = None,
    compression: str = "none",
) -> Published:
    """Publish a record between two good events of its partition; return when all three have their outcome."""
    market = fresh_market()
    neighbours = [new(fresh_consumer(), market) for _ in range(2)]
    before, after = [(event["consumerId"].encode(), json.dumps(event).encode(), None) for event in neighbours]
    settled = worker.totals()["events"]
    published = shared.publish_raw([before, (key, value, headers), after], partition=PARTITION, compression=compression)
    assert shared.market_counts(worker, market, events=2) == {"synced": 2}
    wait_for(lambda: worker.totals()["events"] >= settled + 3, lambda: f"{worker.totals()}", 20)
    assert worker.totals()["events"] == settled + 3
    return published[1]


@pytest.mark.parametrize(("key", "value", "reason"), POISONS.values(), ids=POISONS.keys())
def test_invalid_record_becomes_a_dead_letter_and_its_neighbours_are_synced(
    shared: Deployment, worker: WorkerProcess, key: bytes | None, value: bytes | None, reason: str
) -> None:
    invalid = worker.totals()["invalid"]
    calls = shared.simulator.stats()["calls"]
    headers: Headers = [("trace", b"\x00\xff"), ("nothing", None), ("trace", b"again")]
    published = between_good_ones(shared, worker, key, value, headers)
    assert worker.totals()["invalid"] == invalid + 1
    assert shared.simulator.stats()["calls"] == calls + 2, "Marketing Cloud heard of it"
    [letter] = shared.dead_letters(published)
    assert (letter.key, letter.value, letter.partition) == (key, value, PARTITION)
    assert list(letter.headers)[: len(headers)] == list(headers)
    assert letter.header("x-sync-reason") == reason.encode()


def test_invalid_events_count_for_their_market_where_it_can_be_read(shared: Deployment, worker: WorkerProcess) -> None:
    market = fresh_market()
    shared.publish_raw([(KEY, document(market=market, surprise=1), None)])
    assert shared.market_counts(worker, market) == {"invalid": 1}
    assert shared.failure_counts(worker, market) == {"event NEW EVENT-SCHEMA": 1}
    assert shared.record_counts(worker, market) == {}


def test_null_value_for_an_unknown_consumer_is_synced_under_no_market(
    shared: Deployment, worker: WorkerProcess
) -> None:
    consumer = fresh_consumer()
    synced = worker.totals()["synced"]
    published = between_good_ones(shared, worker, consumer.encode(), None)
    view = worker.consumer(consumer)
    assert view is not None
    assert (view["lastEventId"], view["lastOutcome"], view["market"]) == (published.id, "synced", "-")
    assert worker.totals()["synced"] == synced + 3


def test_headers_of_any_kind_do_no_harm(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    headers: Headers = [
        ("", b""),
        ("nothing", None),
        ("ce_time", b"\xff"),
        ("ce_id", None),
        ("x-sync-attempt", b"many"),
    ]
    between_good_ones(shared, worker, consumer.encode(), json.dumps(new(consumer)).encode(), headers)
    view = worker.consumer(consumer)
    assert view is not None
    assert view["lastOutcome"] == "synced"


def test_values_that_only_look_like_poison_are_synced(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    numbers = [b"1e999999999", b"123456789012345678901234567890.123456789", b"-0.0", b"1" * 4000]
    rows = b",".join(b'{"PetId": "p%d", "Breed": %b}' % (number, text) for number, text in enumerate(numbers))
    value = json.dumps(new(consumer)).encode().replace(b'"entities": {}', b'"entities": {"pet": [' + rows + b"]}")
    between_good_ones(shared, worker, consumer.encode(), value)
    held = shared.simulator.rows(shared.catalog, consumer)[EntityType.PET]
    assert [row["Breed"] for row in held.values()] == ["1E+999999999", *(text.decode() for text in numbers[1:])]


def test_lone_surrogate_in_a_value_fails_that_row(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, pet=[pet("p1", Name="\ud83d"), pet("p2", Name="Rex")])
    between_good_ones(shared, worker, consumer.encode(), json.dumps(event).encode())
    assert shared.market_counts(worker, market) == {"partial": 1}
    assert shared.failure_counts(worker, market) == {"pet NEW CMT-NOT-XML-TEXT": 1}


def test_event_of_1970_counts_for_the_day_on_which_it_is_settled(shared: Deployment, worker: WorkerProcess) -> None:
    began, market = datetime.now(UTC), fresh_market()
    event = new(fresh_consumer(), market)
    shared.probe.produce(
        shared.pipeline.topic, [(event["consumerId"], json.dumps(event))], partition=PARTITION, timestamp=1
    )
    assert shared.market_counts(worker, market) == {"synced": 1}
    [counted] = worker.get(f"/api/kpi/daily?market={market}")["rows"]
    assert counted["day"] in {began.date().isoformat(), datetime.now(UTC).date().isoformat()}


# Large records


def largest(shared: Deployment, key: bytes, fill: Event | None = None) -> bytes:
    """The largest value that the main topic accepts with this key: junk, or an event with one long value."""
    # A batch of one record: 61 bytes of batch header, and some for the record's own lengths.
    size = shared.kafka.max_message_bytes - 61 - len(key) - 16
    if fill is None:
        return b"x" * size
    short = json.dumps(fill).encode()
    return short.replace(b"{filling}", b"x" * (size - len(short) + len(b"{filling}")))


def test_largest_record_that_is_junk_becomes_a_dead_letter_as_a_whole(
    shared: Deployment, worker: WorkerProcess
) -> None:
    value = largest(shared, KEY)
    with pytest.raises(Exception, match="MSG_SIZE_TOO_LARGE"):
        shared.publish_raw([(KEY, value + b"x" * 32, None)], partition=PARTITION)
    published = between_good_ones(shared, worker, KEY, value)
    [letter] = shared.dead_letters(published)
    assert (letter.value, letter.header("x-sync-reason")) == (value, b"EVENT-NOT-JSON")


def test_largest_event_is_synced_and_retried_like_any_other(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, contact=[contact("k1", Value="{filling}")])
    value = largest(shared, consumer.encode(), event)
    with shared.simulator.fault("server_fault", consumerId=consumer, dataExtension="CMT_Consumer", times=1):
        published = between_good_ones(shared, worker, consumer.encode(), value)
    assert shared.market_counts(worker, market) == {"synced": 1}
    [copy] = shared.retry_copies(published)
    assert copy.value == value
    [held] = shared.simulator.rows(shared.catalog, consumer)[EntityType.CONTACT].values()
    assert held["Value"] == json.loads(value)["entities"]["contact"][0]["Value"]


def test_largest_event_that_fails_becomes_a_dead_letter_as_a_whole(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    value = largest(shared, consumer.encode(), new(consumer, market, contact=[contact("k1", Value="{filling}")]))
    with shared.simulator.fault("row_error", consumerId=consumer, dataExtension="CMT_Consumer"):
        published = between_good_ones(shared, worker, consumer.encode(), value)
    assert shared.market_counts(worker, market) == {"failed": 1}
    [letter] = shared.dead_letters(published)
    assert letter.value == value


# A topic's limit applies to compressed bytes: these records are accepted, but too large once they are unpacked.


@pytest.mark.parametrize("megabytes", [3, 20], ids=["refused by the broker", "refused by our own producer"])
def test_junk_that_fitted_only_compressed_leaves_its_position_as_a_dead_letter(
    shared: Deployment, worker: WorkerProcess, megabytes: int
) -> None:
    published = between_good_ones(shared, worker, KEY, b"x" * megabytes * 1024 * 1024, [("trace", b"1")], "gzip")
    [letter] = shared.dead_letters(published)
    assert (letter.key, letter.value, letter.partition) == (KEY, None, PARTITION)
    headers = dict(letter.headers)
    assert headers["x-sync-value-omitted"] == b"true"
    assert headers["x-sync-reason"] == b"EVENT-TOO-LARGE"
    assert headers["x-sync-source-topic"] == shared.pipeline.topic.encode()


@pytest.mark.parametrize(
    ("name", "value"), [("x-sync-redrive-count", b"{}"), ("kafka_dlt-exception-stacktrace", b"{}"), ("theirs", None)]
)
def test_a_header_that_fitted_only_compressed_does_not_fill_the_dead_letter(
    shared: Deployment, worker: WorkerProcess, name: str, value: bytes | None
) -> None:
    """Headers that look like the program's, or like those of an earlier dead letter, are replaced."""
    header = (name, b" " * 2 * shared.kafka.max_message_bytes)
    published = between_good_ones(shared, worker, KEY, b"{}", [header], "gzip")
    [letter] = shared.dead_letters(published)
    assert (letter.key, letter.value, letter.header("x-sync-reason")) == (KEY, value, b"EVENT-TOO-LARGE")


def test_event_that_fitted_only_compressed_is_a_dead_letter_and_no_event_waits(
    shared: Deployment, worker: WorkerProcess
) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, contact=[contact("k1", Value="x" * 2 * shared.kafka.max_message_bytes)])
    published = between_good_ones(shared, worker, consumer.encode(), json.dumps(event).encode(), compression="gzip")
    [letter] = shared.dead_letters(published)
    assert (letter.value, letter.header("x-sync-reason")) == (None, b"EVENT-TOO-LARGE")
    after = new(consumer, market)
    shared.publish(after)
    assert shared.outcome(worker, after)["attempts"] == 1


def test_a_record_that_unpacks_to_a_thousand_times_its_size_takes_little_memory(
    shared: Deployment, worker: WorkerProcess
) -> None:
    unpacked = 28 * 1024 * 1024
    between_good_ones(shared, worker, KEY, b"[" + b"[]," * 1000 + b"[]]")  # what a first invalid record takes
    before = worker.peak_memory()
    between_good_ones(shared, worker, KEY, b"[" + b"[]," * (unpacked // 3) + b"[]]", compression="gzip")
    assert worker.peak_memory() - before < 8 * unpacked


def test_a_cloud_event_in_structured_mode_is_synced(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    event = new(consumer)
    value = {"specversion": "1.0", "id": "ce-1", "source": "/crm", "type": "profile", "data": event}
    headers: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    between_good_ones(shared, worker, consumer.encode(), json.dumps(value).encode(), headers)
    view = worker.consumer(consumer)
    assert view is not None
    assert (view["lastOutcome"], view["lastEventId"]) == ("synced", "ce-1")
