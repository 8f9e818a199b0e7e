"""Gives tests access to a broker: they write and read whole topics, read committed offsets, get new settings."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from app.settings import KafkaSettings

DEADLINE_SECONDS = 30.0
_COORDINATOR_ABSENT = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Eventually(Protocol):
    def __call__(self, condition: Callable[[], object], what: str, *, within: float = DEADLINE_SECONDS) -> None: ...


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a topic. ``timestamp``: in ms since 1970."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int

    def header(self, name: str) -> bytes | None:
        """The value of the last header of that name."""
        return dict(self.headers).get(name)


class MakeKafkaSettings(Protocol):
    def __call__(self, *, create: bool = True, **values: object) -> KafkaSettings: ...


@dataclass
class KafkaProbe:
    """Writes and reads whole topics for a test."""

    bootstrap_servers: str
    _producer: Producer | None = field(default=None, repr=False)

    def close(self) -> None:
        """Close the connection, before the broker stops."""
        self._producer = None

    def produce(
        self,
        topic: str,
        records: Iterable[tuple[bytes | str | None, bytes | str | None]],
        *,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Write (key, value) records and wait until all are acknowledged.

        Without ``partition``, keys are distributed as Java and Faust do it (murmur2). ``timestamp``: in ms.
        """
        if self._producer is None:
            self._producer = Producer(
                {
                    "bootstrap.servers": self.bootstrap_servers,
                    "enable.idempotence": True,
                    "partitioner": "murmur2_random",
                    "linger.ms": 2,
                    "message.max.bytes": 32 * 1024 * 1024,
                }
            )
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failures.append(error)

        where = {} if partition is None else {"partition": partition}
        when = {} if timestamp is None else {"timestamp": timestamp}
        for key, value in records:
            while True:
                try:
                    self._producer.produce(
                        topic, key=key, value=value, headers=dict(headers or {}), on_delivery=delivered, **where, **when
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        left = self._producer.flush(DEADLINE_SECONDS)
        assert left == 0, f"{left} records for {topic} not acknowledged within {DEADLINE_SECONDS:g} s"
        if failures:
            raise KafkaException(failures[0])

    def read_all(self, topic: str) -> list[Record]:
        """All records that are in the topic now, in order within each partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": f"reader-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
            }
        )
        try:
            metadata = consumer.list_topics(topic, timeout=DEADLINE_SECONDS).topics[topic]
            if metadata.error is not None:
                raise KafkaException(metadata.error)
            consumer.assign([TopicPartition(topic, partition, 0) for partition in metadata.partitions])
            return self._read(consumer, set(metadata.partitions))
        finally:
            consumer.close()

    def _read(self, consumer: Consumer, open_partitions: set[int]) -> list[Record]:
        records, deadline = [], time.monotonic() + DEADLINE_SECONDS
        while open_partitions:
            assert time.monotonic() < deadline, f"partitions {sorted(open_partitions)} not read to their end in time"
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                open_partitions.discard(message.partition())
                continue
            records.append(
                Record(
                    partition=message.partition(),
                    offset=message.offset(),
                    key=message.key(),
                    value=message.value(),
                    headers=tuple(message.headers() or ()),
                    timestamp=message.timestamp()[1],
                )
            )
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed offset of each partition for which the group has one."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": group})
        try:
            partitions = consumer.list_topics(topic, timeout=DEADLINE_SECONDS).topics[topic].partitions
            wanted = [TopicPartition(topic, partition) for partition in partitions]
            deadline = time.monotonic() + DEADLINE_SECONDS
            while True:  # a broker that has just started may not know the group's coordinator yet
                try:
                    found = consumer.committed(wanted, timeout=DEADLINE_SECONDS)
                    break
                except KafkaException as error:
                    if error.args[0].code() not in _COORDINATOR_ABSENT or time.monotonic() > deadline:
                        raise
            return {one.partition: one.offset for one in found if one.offset >= 0}
        finally:
            consumer.close()
