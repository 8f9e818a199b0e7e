"""Where partitions begin and end, as a real broker says it."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient

from app.kafka.clients import admin_config, producer_config
from app.kafka.partition_offsets import PartitionOffsets
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import KafkaProbe, MakeKafkaSettings


def test_begins_and_ends_come_in_one_answer_and_open_transactions_count(
    kafka: KafkaProbe, make_kafka_settings: MakeKafkaSettings
) -> None:
    settings = make_kafka_settings(partitions=4)
    pipeline = pipeline_of(settings)
    topic, tps = pipeline.topic, [(pipeline.topic, number) for number in range(4)]
    kafka.produce(topic, [(b"C-1", b"{}")] * 5, partition=0)
    kafka.produce(topic, [(b"C-1", b"{}")] * 3, partition=2)
    admin = AdminClient(dict(admin_config(settings)))
    for deleted in admin.delete_records([KafkaTopicPartition(topic, 0, 2)]).values():
        deleted.result(30)
    producer = Producer({**producer_config(settings), "transactional.id": pipeline.group})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, b"{}", partition=3)
    assert producer.flush(30) == 0
    offsets = PartitionOffsets(settings, pipeline.group, 30.0)
    try:
        assert offsets.begins(tps) == {(topic, 0): 2, (topic, 1): 0, (topic, 2): 0, (topic, 3): 0}
        assert offsets.ends(tps) == {(topic, 0): 5, (topic, 1): 0, (topic, 2): 3, (topic, 3): 1}
        with pytest.raises(KafkaException) as raised:
            offsets.ends([*tps, ("no-such-topic", 0)])
        assert raised.value.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION)
    finally:
        offsets.close()
        producer.abort_transaction()
