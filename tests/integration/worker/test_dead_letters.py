"""The records in the retry and dead-letter topics, as operators and other tools see them."""

from __future__ import annotations

import json
import struct

from tests.support.deployment import Deployment
from tests.support.profiles import delete_entities, fresh_consumer, fresh_market, new
from tests.support.worker_process import WorkerProcess, wait_for

ORIGINAL = [
    ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("raw", b"\x00\xff"),
    ("no", None),
]


def text(value: bytes | None) -> str:
    assert value is not None
    return value.decode()


def test_dead_letter_is_the_record_itself_with_what_is_known_of_it(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market, name="Wilhelmina")
    # Spaces and order of the original bytes stay.
    value = json.dumps(event, indent=3).encode()
    with shared.simulator.fault("server_fault", consumerId=consumer, operation="Update"):
        [published] = shared.publish_raw([(consumer.encode(), value, ORIGINAL)], partition=3)
        assert shared.market_counts(worker, market) == {"failed": 1}
    [letter] = shared.dead_letters(published)
    assert (letter.partition, letter.key, letter.value) == (3, consumer.encode(), value)
    assert list(letter.headers)[:3] == ORIGINAL
    headers = dict(letter.headers[3:])
    assert len(headers) == len(letter.headers) - 3, "a header stands there twice"
    first, last = int(text(headers.pop("x-sync-first-failed-at"))), int(text(headers.pop("x-sync-last-failed-at")))
    assert published.timestamp <= first < last <= letter.timestamp
    message = text(headers.pop("x-sync-message"))
    assert "CMT_Consumer" in message
    assert headers.pop("kafka_dlt-exception-message") == message.encode()
    assert headers.pop("x-sync-due-at") is not None
    assert headers.pop("x-sync-parked-by") is not None
    assert headers == {
        "x-sync-event-id": event["eventId"].encode(),
        "x-sync-entity": b"consumer",
        "x-sync-operation": b"NEW",
        "x-sync-market": market.encode(),
        "x-sync-attempt": b"3",
        "x-sync-reason": b"CMT-SERVER-FAULT",
        "x-sync-source-topic": shared.pipeline.topic.encode(),
        "x-sync-source-partition": b"3",
        "x-sync-source-offset": str(published.offset).encode(),
        "x-sync-source-timestamp": str(published.timestamp).encode(),
        "x-sync-redrive-count": b"0",
        # As Spring Kafka writes them: numbers are big-endian integers.
        "kafka_dlt-original-topic": shared.pipeline.topic.encode(),
        "kafka_dlt-original-partition": struct.pack(">i", 3),
        "kafka_dlt-original-offset": struct.pack(">q", published.offset),
        "kafka_dlt-original-timestamp": struct.pack(">q", published.timestamp),
        "kafka_dlt-original-consumer-group": shared.pipeline.group.encode(),
        "kafka_dlt-exception-fqcn": headers["kafka_dlt-exception-fqcn"],
    }
    assert text(headers["kafka_dlt-exception-fqcn"]).endswith("CMT-SERVER-FAULT")


def test_retry_copy_is_the_record_itself_with_what_failed_and_when_it_is_due(
    shared: Deployment, worker: WorkerProcess
) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    event = new(consumer, market)
    value = json.dumps(event, indent=3).encode()
    with shared.simulator.fault("rate_limited", consumerId=consumer, operation="Update", times=1):
        [published] = shared.publish_raw([(consumer.encode(), value, ORIGINAL)], partition=0)
        assert shared.market_counts(worker, market) == {"synced": 1}
    [copy] = shared.retry_copies(published)
    assert (copy.partition, copy.key, copy.value) == (0, consumer.encode(), value)
    assert list(copy.headers)[:3] == ORIGINAL
    headers = {name: text(header) for name, header in copy.headers[3:]}
    failed, due = int(headers["x-sync-first-failed-at"]), int(headers["x-sync-due-at"])
    assert failed == int(headers["x-sync-last-failed-at"])
    assert 0 <= due - failed <= 200, "back-off base is 50 ms"
    assert headers == {
        "x-sync-event-id": event["eventId"],
        "x-sync-attempt": "1",
        "x-sync-due-at": str(due),
        "x-sync-first-failed-at": str(failed),
        "x-sync-last-failed-at": str(failed),
        "x-sync-reason": "CMT-RATE-LIMITED",
        "x-sync-message": headers["x-sync-message"],
        "x-sync-source-topic": shared.pipeline.topic,
        "x-sync-source-partition": "0",
        "x-sync-source-offset": str(published.offset),
        "x-sync-source-timestamp": str(published.timestamp),
        "x-sync-redrive-count": "0",
        "x-sync-parked-by": headers["x-sync-parked-by"],
    }
    assert headers["x-sync-parked-by"], "the mark of the partition's record"


def test_messages_of_marketing_cloud_are_masked_before_they_stand_in_a_header(
    shared: Deployment, worker: WorkerProcess
) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    with shared.simulator.fault("row_error", consumerId=consumer, operation="Update"):
        [published] = shared.publish(new(consumer, market, name="Wilhelmina"))
        assert shared.market_counts(worker, market) == {"failed": 1}
    [letter] = shared.dead_letters(published)
    for name in ("x-sync-message", "kafka_dlt-exception-message"):
        message = text(letter.header(name))
        assert "***" in message
        assert "wilhelmina" not in message.lower()
        assert consumer not in message


def test_events_that_fail_alike_share_one_incident(shared: Deployment, worker: WorkerProcess) -> None:
    market = fresh_market()
    consumers = [fresh_consumer() for _ in range(6)]
    for consumer in consumers:
        shared.simulator.add_fault("row_error", consumerId=consumer, dataExtension="CMT_OptIn", times=1)
    published = shared.publish(*(delete_entities(one, market, optIn=[{"OptInId": "o1"}]) for one in consumers))
    assert shared.market_counts(worker, market, events=6) == {"failed": 6}

    def told() -> str:
        incidents = shared.simulator.incidents_of("CMT-ROW-INVALID:optIn:DELETE")
        assert len(incidents) <= 1, f"{len(incidents)} incidents for one thing"
        return " ".join(text for one in incidents for text in (one["description"], *one["work_notes"]))

    wait_for(lambda: all(one.id in told() for one in published), lambda: f"all six events named: {told()}", 20)
