"""The backlog of the measured programs: valid NEW events without entities, published before a measurement starts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import OffsetSpec

from app.kafka import topics
from app.kafka.admin import Admin
from app.kafka.publisher import Publisher
from app.profile.event import Operation
from app.profile.samples.samples import sample_events, to_json
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of

CONSUMERS = 1_000
ANSWER_SECONDS = 30.0


def events(count: int, consumers: int = CONSUMERS) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of ``count`` events of ``consumers`` consumers in random order; the same events every time."""
    found = (event for event in sample_events(100 * consumers, seed=1) if event.operation is Operation.NEW)
    documents: list[dict[str, Any]] = []
    for event in islice({event.consumer_id: event for event in islice(found, 2 * consumers)}.values(), consumers):
        document = to_json(event)
        document.pop("entities", None)
        documents.append(document)
    rng = random.Random(2)
    for number in range(count):
        document = rng.choice(documents)
        document["eventId"] = f"bench-{number}"
        yield document["consumerId"].encode(), orjson.dumps(document)


def publish(kafka: KafkaSettings, count: int) -> None:
    """Create the topics and publish ``count`` events.

    Raises:
        RuntimeError: Kafka refused a record.
        KafkaAccessError: Kafka cannot be reached.
    """
    pipeline = pipeline_of(kafka)
    topics.create(kafka, pipeline)
    refused: list[str] = []

    def delivered(_tag: int, error: object) -> None:
        if error is not None:
            refused.append(str(error))

    with Publisher(kafka, pipeline.topic, delivered) as publisher:
        for number, (key, value) in enumerate(events(count)):
            publisher.send(key, value, number)
    if refused:
        raise RuntimeError(f"{len(refused)} of {count} records were refused: {refused[0]}")


def uncommitted(kafka: KafkaSettings) -> int:
    """How many records of the main topic the group has not committed yet."""
    pipeline = pipeline_of(kafka)
    client = Admin(kafka).client
    partitions = _partitions(kafka, pipeline.topic)
    ends = client.list_offsets({partition: OffsetSpec.latest() for partition in partitions})
    asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(pipeline.group, partitions)])
    committed = {
        found.partition: found.offset for found in asked[pipeline.group].result(ANSWER_SECONDS).topic_partitions
    }
    return sum(end.result(ANSWER_SECONDS).offset - max(0, committed[tp.partition]) for tp, end in ends.items())


def records(kafka: KafkaSettings, topic: str) -> int:
    """How many records were ever written to a topic."""
    client = Admin(kafka).client  # its answers arrive only while it is referenced
    ends = client.list_offsets({tp: OffsetSpec.latest() for tp in _partitions(kafka, topic)})
    return sum(end.result(ANSWER_SECONDS).offset for end in ends.values())


def _partitions(kafka: KafkaSettings, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(kafka.partitions)]
