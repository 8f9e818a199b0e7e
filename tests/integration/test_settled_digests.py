"""Settled records of the main topic are read again, to check that they are still the same."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import Producer

from app.broker.local_broker import LocalBroker
from app.delivery.record_digest import RecordDigest
from app.flows.settled_digests import read_digests
from app.kafka import topics
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.integration.worker.test_unreadable import change_log
from tests.support.brokers import own_broker
from tests.support.kafka_probe import DEADLINE_SECONDS

VALUE = b'{"firstName": "Ann"}'


def test_a_damaged_record_is_not_taken_for_another_one(tmp_path: Path) -> None:
    """It is left out, and the other partitions have their answers. The log is changed on disk, so the broker is one of
    the test's own."""
    data = tmp_path / "kafka"
    with own_broker(LocalBroker(data=data)) as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, partitions=3)
        topics.create(kafka, pipeline_of(kafka))
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 0})
        for number in range(3):
            for key in (b"a", b"b"):
                producer.produce(pipeline_of(kafka).topic, VALUE, key, partition=number)
                assert producer.flush(DEADLINE_SECONDS) == 0
        del producer
        broker.stop()
        assert change_log(data, pipeline_of(kafka).topic, 1, lambda batch: batch.replace(b"Ann", b"Anm")) == 2
        broker.start()
        found = read_digests(kafka, pipeline_of(kafka), {0: [0, 1], 1: [0, 1], 2: [1]}, DEADLINE_SECONDS)
    zero, one = RecordDigest.of(0, b"a", VALUE), RecordDigest.of(1, b"b", VALUE)
    assert found == {0: {0: zero, 1: one}, 2: {1: one}}
