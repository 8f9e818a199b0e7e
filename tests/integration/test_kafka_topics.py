"""Topics on a real broker: they are created as specified, and every deviation is named."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from app.broker.free_port import free_port
from app.broker.sources import Broker
from app.kafka import topics
from app.kafka.admin import KafkaAccessError
from app.kafka.limits import STATE_RECORD_BYTES, copy_bytes
from app.settings import HEADER_ROOM_BYTES, KafkaSettings
from app.settings.pipelines import pipeline_of
from tests.support.kafka_probe import Eventually, KafkaProbe, MakeKafkaSettings


class TopicAdmin:
    """Changes topics as an administrator could."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._client = AdminClient({"bootstrap.servers": bootstrap_servers})

    def partitions(self) -> dict[str, int]:
        topics_there = self._client.list_topics(timeout=10).topics
        return {name: len(topic.partitions) for name, topic in topics_there.items()}

    def alter(self, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self._done(self._client.incremental_alter_configs([resource]))

    def make(self, topic: str, partitions: int, config: dict[str, str] | None = None) -> None:
        self._done(self._client.create_topics([NewTopic(topic, partitions, 1, config=config or {})]))

    def delete(self, topic: str) -> None:
        self._done(self._client.delete_topics([topic]))

    def grow(self, topic: str, partitions: int) -> None:
        self._done(self._client.create_partitions([NewPartitions(topic, partitions)]))

    @staticmethod
    def _done(answers: Mapping[Any, Future[Any]]) -> None:
        for answer in answers.values():
            answer.result(10)


@pytest.fixture(scope="module")
def admin(broker: Broker) -> TopicAdmin:
    return TopicAdmin(broker.bootstrap_servers)


def _found(settings: KafkaSettings) -> set[tuple[str, str]]:
    return {(problem.topic, problem.setting) for problem in topics.check(settings, pipeline_of(settings))}


def test_all_topics_are_created_with_the_same_partitions_and_nothing_is_wrong_with_them(
    admin: TopicAdmin,
    make_kafka_settings: MakeKafkaSettings,
) -> None:
    settings = make_kafka_settings(create=False, partitions=3)
    pipeline = pipeline_of(settings)
    names = (
        pipeline.topic,
        pipeline.retry_topic,
        pipeline.dlq_topic,
        pipeline.alerts_topic,
        pipeline.state_topic,
        pipeline.consumers_topic,
        pipeline.letters_topic,
        pipeline.status_topic,
        pipeline.tasks_topic,
    )

    report = topics.create(settings, pipeline)

    assert report.created == names
    assert report.existing == ()
    assert report.problems == ()
    found = admin.partitions()
    assert {name: found.get(name) for name in names} == dict.fromkeys(names, 3) | dict.fromkeys(
        (pipeline.status_topic, pipeline.tasks_topic), 1
    )
    assert topics.check(settings, pipeline) == []


def test_new_topics_are_served_when_create_returns(make_kafka_settings: MakeKafkaSettings) -> None:
    settings = make_kafka_settings(create=False, partitions=8)
    pipeline = pipeline_of(settings)
    reader = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": pipeline.group})
    try:
        topics.create(settings, pipeline)

        # Not a single "not leader for partition", although a broker announces itself as leader before it takes over.
        for topic in (pipeline.topic, pipeline.consumers_topic):
            for partition in range(8):
                assert reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10) == (0, 0)
    finally:
        reader.close()


def test_creating_again_changes_nothing(kafka_settings: KafkaSettings) -> None:
    report = topics.create(kafka_settings, pipeline_of(kafka_settings))

    assert report.created == ()
    assert len(report.existing) == 9
    assert report.problems == ()


def test_only_the_missing_topic_is_named_and_created(
    admin: TopicAdmin, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    pipeline = pipeline_of(kafka_settings)
    admin.delete(pipeline.dlq_topic)
    eventually(lambda: _found(kafka_settings) == {(pipeline.dlq_topic, "topic")}, "the dead-letter topic is gone")

    assert topics.create(kafka_settings, pipeline).created == (pipeline.dlq_topic,)
    assert topics.check(kafka_settings, pipeline) == []


@pytest.mark.parametrize(
    ("role", "setting", "value"),
    [
        ("topic", "cleanup.policy", "compact"),
        ("topic", "retention.ms", "3600000"),
        ("topic", "retention.bytes", "1000000"),
        ("topic", "max.message.bytes", "1000"),
        ("topic", "max.message.bytes", "5000000"),
        ("topic", "min.insync.replicas", "2"),
        ("topic", "unclean.leader.election.enable", "true"),
        ("retry_topic", "cleanup.policy", "compact,delete"),
        ("retry_topic", "retention.ms", "604800000"),
        ("retry_topic", "max.message.bytes", "1048588"),
        ("retry_topic", "message.timestamp.type", "LogAppendTime"),
        ("retry_topic", "message.timestamp.after.max.ms", "3600000"),
        ("dlq_topic", "retention.ms", "86400000"),
        ("dlq_topic", "max.message.bytes", "1048588"),
        ("alerts_topic", "retention.ms", "3600000"),
        ("state_topic", "cleanup.policy", "delete"),
        ("state_topic", "max.message.bytes", "1048588"),
        ("consumers_topic", "cleanup.policy", "compact,delete"),
    ],
)
def test_a_wrong_property_is_named_with_its_topic_and_a_remedy_that_corrects_it(
    admin: TopicAdmin, kafka_settings: KafkaSettings, eventually: Eventually, role: str, setting: str, value: str
) -> None:
    pipeline = pipeline_of(kafka_settings)
    topic = getattr(pipeline, role)
    admin.alter(topic, setting, value)
    if setting == "message.timestamp.after.max.ms":
        # Wrong only because the main topic accepts larger records.
        admin.alter(pipeline.topic, setting, "7200000")

    eventually(lambda: _found(kafka_settings) == {(topic, setting)}, f"{topic} {setting} is reported, and only that")

    (problem,) = topics.check(kafka_settings, pipeline)
    assert topic in problem.message
    assert setting in problem.message
    assert value in problem.found
    mended = problem.remedy.rpartition("=")[2]
    admin.alter(topic, setting, mended)
    eventually(lambda: topics.check(kafka_settings, pipeline) == [], f"{setting}={mended} mends it")


def test_too_few_replicas_are_named_for_every_topic(kafka_settings: KafkaSettings) -> None:
    wanted = kafka_settings.model_copy(update={"replication": 2})

    assert {setting for _, setting in _found(wanted)} == {"replication"}
    assert len(_found(wanted)) == 9


def test_more_replicas_than_brokers_is_a_clear_error(make_kafka_settings: MakeKafkaSettings) -> None:
    settings = make_kafka_settings(create=False, replication=3)

    with pytest.raises(KafkaAccessError, match=r"create topic .*KAFKA_REPLICATION"):
        topics.create(settings, pipeline_of(settings))


def test_another_partition_count_is_named(
    admin: TopicAdmin, kafka_settings: KafkaSettings, eventually: Eventually
) -> None:
    pipeline = pipeline_of(kafka_settings)
    admin.grow(pipeline.retry_topic, 6)

    eventually(lambda: _found(kafka_settings) == {(pipeline.retry_topic, "partitions")}, "six partitions seen")


def test_nothing_is_created_beside_a_topic_with_another_partition_count(
    admin: TopicAdmin, make_kafka_settings: MakeKafkaSettings, eventually: Eventually
) -> None:
    settings = make_kafka_settings(create=False, partitions=4)
    pipeline = pipeline_of(settings)
    admin.make(pipeline.topic, 12)
    eventually(lambda: (pipeline.topic, "partitions") in _found(settings), "the main topic is seen")

    report = topics.create(settings, pipeline)

    assert report.created == ()
    assert [(problem.topic, problem.setting) for problem in report.problems] == [(pipeline.topic, "partitions")]
    assert "KAFKA_PARTITIONS=12" in report.problems[0].message
    assert pipeline.retry_topic not in admin.partitions()


def test_copies_are_kept_longer_than_a_foreign_main_topic_keeps_events(
    admin: TopicAdmin, make_kafka_settings: MakeKafkaSettings, eventually: Eventually
) -> None:
    settings = make_kafka_settings(create=False)
    pipeline = pipeline_of(settings)
    admin.make(pipeline.topic, 4, {"retention.ms": "-1", "max.message.bytes": str(settings.max_message_bytes)})
    eventually(lambda: pipeline.topic in admin.partitions(), "the main topic is there")

    assert topics.create(settings, pipeline).problems == ()

    admin.alter(pipeline.retry_topic, "retention.ms", str(90 * 24 * 3_600_000))
    eventually(lambda: _found(settings) == {(pipeline.retry_topic, "retention.ms")}, "shorter than for ever")


def test_the_largest_event_with_full_headers_fits_into_retry_and_dead_letters(
    make_kafka_settings: MakeKafkaSettings, kafka: KafkaProbe
) -> None:
    settings = make_kafka_settings(max_message_bytes=100_000)
    pipeline = pipeline_of(settings)
    event = b"x" * (_largest_value(settings, kafka) - len(b"consumer"))
    with pytest.raises(KafkaException) as refused:
        kafka.produce(pipeline.topic, [(b"consumer", event + b"x")])
    assert refused.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE

    headers = {f"h{number}": b"y" * 2046 for number in range(10)} | {
        f"g{number:02}": b"y" * 2045 for number in range(22)
    }
    assert sum(len(name) + len(value) for name, value in headers.items()) == HEADER_ROOM_BYTES
    kafka.produce(pipeline.retry_topic, [(b"consumer", event)], headers=headers)
    kafka.produce(pipeline.dlq_topic, [(b"consumer", event)], headers=headers)

    (copy,) = kafka.read_all(pipeline.dlq_topic)
    assert copy.value == event
    assert len(copy.headers) == 32


def _largest_value(settings: KafkaSettings, kafka: KafkaProbe) -> int:
    """The largest size of key and value that the main topic accepts, found by trying because framing counts too."""
    fits, too_large = 1, settings.max_message_bytes
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        try:
            kafka.produce(pipeline_of(settings).topic, [(b"consumer", b"x" * (middle - len(b"consumer")))], partition=0)
            fits = middle
        except KafkaException:
            too_large = middle
    return fits


def test_a_state_record_of_the_largest_size_is_accepted(kafka_settings: KafkaSettings, kafka: KafkaProbe) -> None:
    pipeline = pipeline_of(kafka_settings)
    record = b"s" * (STATE_RECORD_BYTES - 1024)

    kafka.produce(pipeline.state_topic, [(b"0|1", record)], partition=0)

    assert kafka.read_all(pipeline.state_topic)[0].value == record


def test_a_broker_that_is_not_there_is_named_with_what_to_check() -> None:
    address = f"127.0.0.1:{free_port()}"
    settings = KafkaSettings(bootstrap_servers=address)

    with pytest.raises(KafkaAccessError) as refused:
        topics.check(settings, pipeline_of(settings), timeout_seconds=1.5)

    message = str(refused.value)
    assert address in message
    assert "KAFKA_BOOTSTRAP_SERVERS" in message
    assert "Connection refused" in message


def test_a_host_name_that_does_not_resolve_is_named() -> None:
    settings = KafkaSettings(bootstrap_servers="no-such-host.invalid:9092")

    with pytest.raises(KafkaAccessError, match=r"no-such-host\.invalid.*resolve"):
        topics.check(settings, pipeline_of(settings), timeout_seconds=3)


def test_room_for_copies_exceeds_the_headers() -> None:
    assert copy_bytes(KafkaSettings(bootstrap_servers="x:1")) > 1024 * 1024 + HEADER_ROOM_BYTES
