"""Reads the partition records once, for commands that need the state but do not follow it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from app.delivery.closed_days import parse_document_key
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline import Pipeline
from app.delivery.record_format import StateError, parse_partition_key, partition_key, unreadable_record
from app.kafka.admin import Admin, KafkaAccessError
from app.kafka.clients import consumer_config
from app.settings import KafkaSettings

log = structlog.stdlib.get_logger(__name__)

READ_SECONDS = 30.0


class PartitionRecords(dict[int, tuple[int, PartitionState]]):
    """Partition -> (epoch, record) of the record that counts. ``keys_of``: all keys of a partition's records."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_of: dict[int, set[bytes]] = {}


def read_partition_records(settings: KafkaSettings, pipeline: Pipeline, admin: Admin) -> PartitionRecords:
    """The partition records in the state topic; empty if the topic does not exist.

    Raises:
        KafkaAccessError: the broker cannot be reached or refused, or a record that counts cannot be read.
    """
    topic = pipeline.state_topic
    if topic not in (found := admin.topics([topic])):
        return PartitionRecords()
    numbers = [partition.id for partition in found[topic].partitions]
    ends = admin.ends([(topic, number) for number in numbers])
    values: dict[tuple[int, bytes], tuple[bytes, int]] = {}
    for number, offset, key, value in _records(
        settings, pipeline, {number: end for (_, number), end in ends.items() if end}
    ):
        if value is None:
            values.pop((number, key), None)
        else:
            values[number, key] = value, offset
    records = PartitionRecords()
    newest: dict[int, int] = {}
    for place, key in values:
        try:
            number, epoch = parse_partition_key(key)
        except StateError:
            if parse_document_key(key) is None:
                log.warning(
                    "a record of the state topic has no key of ours; it is left alone", topic=topic, partition=place
                )
            continue
        if number == place:
            records.keys_of.setdefault(number, set()).add(key)
            newest[number] = max(epoch, newest.get(number, -1))
    for number, epoch in newest.items():
        key = partition_key(number, epoch)
        value, offset = values[number, key]
        try:
            records[number] = (epoch, PartitionState.decode(value))
        except StateError as error:
            raise KafkaAccessError(unreadable_record(topic, number, key.decode(), offset, str(error))) from None
    return records


def _records(
    settings: KafkaSettings, pipeline: Pipeline, ends: dict[int, int]
) -> Iterator[tuple[int, int, bytes, bytes | None]]:
    consumer = Consumer(dict(consumer_config(settings, pipeline.group)))
    left = set(ends)
    deadline = time.monotonic() + READ_SECONDS
    try:
        consumer.assign([KafkaTopicPartition(pipeline.state_topic, number, 0) for number in ends])
        while left:
            if time.monotonic() > deadline:
                raise KafkaAccessError(f"{pipeline.state_topic} could not be read within {READ_SECONDS:g} s; try again")
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                key, value = message.key(), message.value()
                partition, offset = message.partition(), message.offset()
                if isinstance(key, bytes) and partition is not None and offset is not None:
                    yield partition, offset, key, value if isinstance(value, bytes) else None
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise KafkaAccessError(f"cannot read {pipeline.state_topic}: {error.str()}", error.code())
    except KafkaException as error:
        raise KafkaAccessError(f"cannot read {pipeline.state_topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()
