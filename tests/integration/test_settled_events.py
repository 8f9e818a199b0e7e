"""Single records of the main topic, read again by their offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from app.broker.free_port import free_port
from app.kafka.admin import KafkaAccessError
from app.kafka.topic_reader import NEAR, SettledEvents
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import DEADLINE_SECONDS

RECORDS = 3 * NEAR


@pytest.fixture
def filled(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Partition 0 has records 0 ... with their offset as the key; partition 1 has none."""
    producer = Producer({"bootstrap.servers": kafka_settings.bootstrap_servers, "enable.idempotence": True})
    for number in range(RECORDS):
        producer.produce(
            pipeline_of(kafka_settings).topic, b"v", str(number), partition=0, headers=[("ce_id", str(number).encode())]
        )
    assert producer.flush(DEADLINE_SECONDS) == 0
    return kafka_settings


@pytest.fixture
def events(filled: KafkaSettings) -> Iterator[SettledEvents]:
    with SettledEvents(filled, pipeline_of(filled)) as reader:
        yield reader


def test_records_near_and_far_are_found_by_their_offsets(events: SettledEvents) -> None:
    wanted = [RECORDS - 1, 0, 7, NEAR + 8, NEAR + 9]
    found = events.read(0, wanted)
    assert {offset: (record.key, record.header("ce_id")) for offset, record in found.items()} == {
        offset: (str(offset).encode(), str(offset)) for offset in wanted
    }


def test_no_more_is_waited_for_than_can_be_there(events: SettledEvents, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    consumer = events._consumer

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(consumer, name)

        def consume(self, number: int, timeout: float) -> list[Message]:
            asked.append(number)
            return consumer.consume(number, timeout)

    monkeypatch.setattr(events, "_consumer", Watched())
    assert sorted(events.read(0, [3, 4, 5])) == [3, 4, 5]
    assert max(asked) == 3
    assert consumer.assignment() == []


def test_what_is_not_there_is_left_out(events: SettledEvents, filled: KafkaSettings) -> None:
    admin = AdminClient({"bootstrap.servers": filled.bootstrap_servers})
    for answer in admin.delete_records([TopicPartition(filled.topic, 0, 5)]).values():
        answer.result(DEADLINE_SECONDS)
    assert sorted(events.read(0, [-1, 0, 4, 5, RECORDS, RECORDS + 10_000])) == [5]
    assert events.read(1, [0, 1]) == {}
    assert events.bounds(0) == (5, RECORDS)


def test_keys_of_a_range(events: SettledEvents) -> None:
    assert list(events.keys(0, RECORDS - 2, RECORDS)) == [
        (offset, str(offset).encode()) for offset in (RECORDS - 2, RECORDS - 1)
    ]
    assert list(events.keys(1, 0, 0)) == []


def test_a_broker_that_is_away_is_named() -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    elsewhere = KafkaSettings(bootstrap_servers=nowhere)
    with (
        SettledEvents(elsewhere, pipeline_of(elsewhere), patience_seconds=2) as reader,
        pytest.raises(KafkaAccessError, match=nowhere),
    ):
        reader.read(0, [0])
