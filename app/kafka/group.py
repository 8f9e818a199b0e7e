"""The consumer group as the broker knows it: who is in it, and what it has committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from app.delivery.pipeline import Pipeline
from app.kafka.admin import TIMEOUT_SECONDS, Admin, KafkaAccessError
from app.kafka.clients import consumer_config
from app.settings import KafkaSettings

NO_OFFSET = -1001
# The metadata of a commit that only places a new group (``start_offsets``): nothing has been read up to there.
PLACED = "placed by KAFKA_START"


def members(admin: Admin, group: str) -> list[str]:
    """Every member, by client, host and partitions, because all clients of a program have the same name.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused.
    """
    with admin.named_errors("look at group", group):
        answers = admin.client.describe_consumer_groups([group], request_timeout=admin.timeout_seconds)
    try:
        found = admin.result(answers[group], "look at group", group)
    except KafkaAccessError as error:
        if error.code == KafkaError.GROUP_ID_NOT_FOUND:  # Kafka 4: the group has neither members nor offsets
            return []
        raise
    return [
        member_in_words(
            member.client_id,
            member.host,
            member.group_instance_id,
            sorted({tp.partition for tp in member.assignment.topic_partitions}),
        )
        for member in found.members
    ]


def member_in_words(client: str, host: str, instance: str | None, partitions: Sequence[int]) -> str:
    """One member of a group.

    >>> member_in_words("profile-sync", "/10.0.0.7", None, [0, 1])
    'profile-sync at 10.0.0.7 (partitions 0, 1)'
    >>> member_in_words("profile-sync", "/10.0.0.7", "pod-1", [])
    'profile-sync pod-1 at 10.0.0.7 (no partitions)'
    """
    name = f"{client} {instance}" if instance else client
    owned = f"partitions {', '.join(map(str, partitions))}" if partitions else "no partitions"
    return f"{name} at {host.removeprefix('/')} ({owned})"


def read_upto(settings: KafkaSettings, pipeline: Pipeline, numbers: Iterable[int]) -> dict[int, int]:
    """The committed offset of each partition of the main topic from which the group has read.

    Raises:
        KafkaAccessError: the broker cannot be reached, or refused.
    """
    consumer = Consumer(consumer_config(settings, pipeline.group))
    try:
        known = consumer.committed(
            [TopicPartition(pipeline.topic, number) for number in numbers], timeout=TIMEOUT_SECONDS
        )
    except KafkaException as error:
        cause = error.args[0]
        raise KafkaAccessError(
            f"cannot ask for the offsets of group {pipeline.group}: {cause.str()}", cause.code()
        ) from error
    finally:
        consumer.close()
    return {tp.partition: tp.offset for tp in known if tp.offset > 0 and tp.metadata != PLACED}
