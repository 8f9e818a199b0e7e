"""How far a group is behind, as the broker says: for commands, which must not need a running worker."""

from __future__ import annotations

import time
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from app.delivery.pipeline import Pipeline
from app.kafka.admin import TIMEOUT_SECONDS, Admin, KafkaAccessError
from app.kafka.clients import consumer_config
from app.kafka.start_offsets import AGAIN_SECONDS, COORDINATOR_COMES
from app.settings import KafkaSettings

# How long to wait for the first waiting records of all partitions together.
_LOOK_SECONDS = 5.0


class NoSuchTopic(KafkaAccessError):
    """The main topic does not exist."""


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag of one partition of the main topic.

    ``records``: how many are not committed. ``since_ms``: Kafka timestamp of the first of them, if it could be read.
    """

    records: int
    since_ms: int | None


def group_lag(settings: KafkaSettings, pipeline: Pipeline) -> dict[int, Lag]:
    """Every partition of the main topic.

    Raises:
        NoSuchTopic: there is no such topic.
        KafkaAccessError: the broker cannot be reached, or refuses.
    """
    admin = Admin(settings)
    topic = admin.topics([pipeline.topic]).get(pipeline.topic)
    if topic is None:
        raise NoSuchTopic(f"There is no topic {pipeline.topic}: check KAFKA_TOPIC, or profile-sync topics create.")
    numbers = sorted(partition.id for partition in topic.partitions)
    with admin.named_errors("ask for the offsets of", pipeline.group):
        consumer = Consumer(dict(consumer_config(settings, pipeline.group) | {"isolation.level": "read_committed"}))
        try:
            return _lag(consumer, pipeline.topic, numbers)
        finally:
            consumer.close()


def _lag(consumer: Consumer, topic: str, numbers: list[int]) -> dict[int, Lag]:
    wanted = [TopicPartition(topic, number) for number in numbers]
    behind: dict[int, tuple[int, int]] = {}
    for tp in _committed(consumer, wanted):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, tp.partition), timeout=TIMEOUT_SECONDS)
        start = low if tp.offset < 0 else max(tp.offset, low)
        if high > start:
            behind[tp.partition] = (start, high - start)
    since, nothing = _timestamps(consumer, topic, {number: start for number, (start, _) in behind.items()})
    return {
        number: Lag(0 if number in nothing else behind.get(number, (0, 0))[1], since.get(number)) for number in numbers
    }


def _committed(consumer: Consumer, wanted: list[TopicPartition]) -> list[TopicPartition]:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            found: list[TopicPartition] = consumer.committed(wanted, timeout=TIMEOUT_SECONDS)
            return found
        except KafkaException as error:
            if error.args[0].code() not in COORDINATOR_COMES or time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_SECONDS)


def _timestamps(consumer: Consumer, topic: str, starts: dict[int, int]) -> tuple[dict[int, int], set[int]]:
    """The timestamp of the first record at or after each start; and the partitions without a record that a reader
    receives (only aborted transactions and their markers)."""
    found: dict[int, int] = {}
    nothing: set[int] = set()
    missing = set(starts)
    if not missing:
        return found, nothing
    consumer.assign([TopicPartition(topic, n, start if start else OFFSET_BEGINNING) for n, start in starts.items()])
    for _ in range(int(_LOOK_SECONDS / 0.1)):
        if not missing:
            break
        for message in consumer.consume(num_messages=len(starts), timeout=0.1):
            error, number = message.error(), message.partition()
            if number not in missing:
                continue  # a record, or the end, that was fetched before the pause
            if error is None:
                missing.discard(number)
                found[number] = message.timestamp()[1]
                consumer.pause([TopicPartition(topic, number)])
            elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                missing.discard(number)
                nothing.add(number)
    return found, nothing
