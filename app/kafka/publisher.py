"""Writes records to the main topic, and reports for each whether Kafka has acknowledged it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import ConfigResource, ResourceType

from app.delivery.record import Headers
from app.kafka.admin import Admin, KafkaAccessError
from app.kafka.clients import producer_config
from app.settings import KafkaSettings

# A broker that restarts is back by then. Without a broker, a command must not wait for the client's own five minutes.
DELIVERY_SECONDS = 60.0
# Limit for records that wait to be acknowledged. It bounds the memory, and is far more than keeps a broker busy.
QUEUE_KIBIBYTES = 64 * 1024

# librdkafka's RD_KAFKA_PARTITION_UA: the partitioner decides.
PARTITION_UA = -1

# What the library would print on stderr is reported with each record.
_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False

# Called once per record, with the record's tag, and None or the reason why Kafka does not have the record.
Delivered = Callable[[int, KafkaError | None], None]


class Publisher:
    """Publishes to a topic, acknowledged by all replicas; use as a context manager.

    It uses the partitioner of Java and Faust. ``delivered`` is called during ``send`` and on leaving. Leaving waits for
    the records that are not acknowledged yet.

    Raises:
        KafkaAccessError: on entering, when Kafka cannot be reached or the topic does not exist.
    """

    def __init__(
        self, settings: KafkaSettings, topic: str, delivered: Delivered, *, delivery_seconds: float = DELIVERY_SECONDS
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._delivered = delivered
        self._delivery_seconds = delivery_seconds
        self._producer: Producer | None = None
        self.largest = settings.max_message_bytes  # bytes of a record with headers; on entering, the topic's limit
        self.partitions = 0  # on entering, the topic's

    def __enter__(self) -> Self:
        topic, admin = self._topic, Admin(self._settings)
        found = admin.topics([topic])
        if topic not in found:
            raise KafkaAccessError(f"The topic {topic} does not exist. Create all topics: profile-sync topics create")
        self.partitions = len(found[topic].partitions)
        self.largest = min(
            self._settings.max_message_bytes, _limit_of(admin, topic) or self._settings.max_message_bytes
        )
        config = producer_config(self._settings)
        config |= {
            # A batch above the topic's limit is refused with all the small records in it.
            "batch.size": min(config["batch.size"], self.largest),
            "delivery.timeout.ms": int(self._delivery_seconds * 1000),
            "queue.buffering.max.kbytes": max(QUEUE_KIBIBYTES, 4 * config["message.max.bytes"] // 1024),
            "error_cb": _ignore,  # what matters is reported with each record
        }
        self._producer = Producer(dict(config), logger=_silent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._producer is not None
        # Every record is acknowledged or given up within the delivery time; 5 s more allow for scheduling.
        self._producer.flush(self._delivery_seconds + 5)

    def send(
        self, key: bytes, value: bytes | None, tag: int, *, headers: Headers = (), partition: int | None = None
    ) -> None:
        """Queue a record. Waits while the queue is full. ``partition``: None: as the key says."""
        assert self._producer is not None
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    key=key,
                    value=value,
                    partition=PARTITION_UA if partition is None else partition,
                    headers=list(headers),
                    on_delivery=lambda refused, _: self._delivered(tag, refused),
                )
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:  # larger than the client's limit
                self._delivered(tag, error.args[0])
                break
            else:
                break
        self._producer.poll(0)


def _limit_of(admin: Admin, topic: str) -> int | None:
    """max.message.bytes of a topic; None: we may not see it."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        with admin.named_errors("read the configuration of", topic):
            [answer] = admin.client.describe_configs([resource], request_timeout=admin.timeout_seconds).values()
        return int(admin.result(answer, "read the configuration of", topic)["max.message.bytes"].value)
    except KafkaAccessError as error:
        if error.code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
            return None
        raise


def is_too_large(error: KafkaError) -> bool:
    """Whether a record was refused because of its size."""
    return error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)


def _ignore(_: Any) -> None:
    """Drops the complaints of single connections."""
