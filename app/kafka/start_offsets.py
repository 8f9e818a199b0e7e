"""Where a consumer group that has read nothing yet begins (``KAFKA_START``).

The alerts topic begins at its end, whatever the setting says. The alerts in it were written before this group existed,
and must not become incidents now.
"""

from __future__ import annotations

import time
from datetime import datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from app.delivery.pipeline import Pipeline
from app.kafka.admin import TIMEOUT_SECONDS, KafkaAccessError
from app.kafka.clients import consumer_config
from app.kafka.group import NO_OFFSET, PLACED
from app.settings import KafkaSettings

# A broker answers this for a moment after it has started, or taken a group over.
COORDINATOR_COMES = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
AGAIN_SECONDS = 0.2


def place_group(settings: KafkaSettings, pipeline: Pipeline) -> dict[int, int]:
    """Commit the start of every partition of the main topic for a group that has no offset there.

    ``latest``: the current end. A time: the first record at or after it, by Kafka timestamp. ``earliest`` needs no
    commit. A group with any offset is left alone, whatever the setting says. Returns the offsets that were committed
    for the main topic.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused.
    """
    consumer = Consumer(consumer_config(settings, pipeline.group))
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        while True:
            try:
                return _place(consumer, settings, pipeline)
            except KafkaException as error:
                code = error.args[0].code()
                if code in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION):
                    return {}  # another worker was faster: the group has members by now
                if code not in COORDINATOR_COMES or time.monotonic() > deadline:
                    reason = error.args[0].str()
                    raise KafkaAccessError(f"KAFKA_START: cannot place group {pipeline.group}: {reason}") from error
            time.sleep(AGAIN_SECONDS)
    finally:
        consumer.close()


def _place(consumer: Consumer, settings: KafkaSettings, pipeline: Pipeline) -> dict[int, int]:
    topic = pipeline.topic
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    alerts = [TopicPartition(pipeline.alerts_topic, number) for number in range(settings.partitions)]
    known = consumer.committed(partitions + alerts, timeout=TIMEOUT_SECONDS)
    if any(tp.offset != NO_OFFSET for tp in known if tp.topic == topic):
        return {}
    ends = []
    if all(tp.offset == NO_OFFSET for tp in known):
        ends = [TopicPartition(tp.topic, tp.partition, _end(consumer, tp)) for tp in alerts]
    if settings.start == "earliest":
        if ends:
            consumer.commit(offsets=ends, asynchronous=False)
        return {}
    if settings.start == "latest":
        found = partitions
    else:
        moment = round(datetime.fromisoformat(settings.start).timestamp() * 1000)
        asked = [TopicPartition(topic, tp.partition, moment) for tp in partitions]
        found = consumer.offsets_for_times(asked, timeout=TIMEOUT_SECONDS)
    starts = {}
    for tp in found:
        if tp.error is not None:
            raise KafkaException(tp.error)
        # A negative offset: there is no record at or after the moment. Then the group begins at the end.
        starts[tp.partition] = tp.offset if tp.offset >= 0 else _end(consumer, tp)
    offsets = [TopicPartition(topic, number, offset, metadata=PLACED) for number, offset in starts.items()]
    consumer.commit(offsets=[*offsets, *ends], asynchronous=False)
    return starts


def _end(consumer: Consumer, tp: TopicPartition) -> int:
    end: int = consumer.get_watermark_offsets(tp, timeout=TIMEOUT_SECONDS)[1]
    return end
