"""Reads single records of a topic again, long after they were written."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.delivery.pipeline import Pipeline
from app.delivery.record import SourceRecord
from app.kafka.admin import KafkaAccessError
from app.kafka.clients import bootstrap_servers, consumer_config
from app.kafka.headers import headers_of
from app.settings import KafkaSettings

# Records that lie closer together than this are read in one go. A new position costs a request.
NEAR = 500
BATCH = 200
POLL_SECONDS = 0.2
# How long to wait for the next record or the end of a partition.
PATIENCE_SECONDS = 30.0
# How much librdkafka fetches ahead: little, because the next position may be far away.
_AHEAD_KIB = 8_192
# How long the broker may hold a fetch at the end of a partition. The broker answers the requests of a connection in
# their order, so the next read waits for as long.
_HELD_MS = 10

_silent = logging.getLogger(f"{__name__}.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class SettledEvents:
    """Reads a topic by position. Joins no group and commits nothing. A context manager; one call at a time.

    All methods raise ``KafkaAccessError`` if the topic cannot be read.

    Args:
        topic: the one to read; None: the main topic.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        pipeline: Pipeline,
        *,
        topic: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._kafka = kafka
        self._topic = topic or pipeline.topic
        self._patience = patience_seconds
        config = consumer_config(kafka, pipeline.group) | {
            "queued.max.messages.kbytes": _AHEAD_KIB,
            "fetch.wait.max.ms": _HELD_MS,
        }
        self._consumer = Consumer(dict(config), logger=_silent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the brokers."""
        self._consumer.close()

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset that is still there, and the end offset."""
        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=self._patience)
        except KafkaException as error:
            raise self._unreadable(partition, error.args[0].str()) from error
        if found is None:
            raise self._unreadable(partition, f"no answer within {self._patience:g} s")
        first, end = found
        return first, end

    def read(self, partition: int, offsets: Sequence[int]) -> dict[int, SourceRecord]:
        """The records at these offsets, without those that are no longer there (retention, compaction)."""
        first, end = self.bounds(partition)
        wanted = deque(offset for offset in sorted(set(offsets)) if first <= offset < end)
        found: dict[int, SourceRecord] = {}
        while wanted:
            for record in self._records(partition, wanted[0], wanted[-1] + 1):
                while wanted and wanted[0] < record.offset:
                    wanted.popleft()
                if wanted and wanted[0] == record.offset:
                    found[wanted.popleft()] = record
                if not wanted or wanted[0] - record.offset > NEAR:
                    break
            else:
                wanted.clear()
        return found

    def read_on(self, partition: int, start: int, limit: int) -> tuple[list[SourceRecord], int]:
        """Records from ``start`` on, at most ``limit``, and the offset at which to go on. Offsets that hold no record
        any more are passed over."""
        first, end = self.bounds(partition)
        found: list[SourceRecord] = []
        for record in self._records(partition, max(start, first), end):
            found.append(record)
            if len(found) == limit:
                return found, record.offset + 1
        return found, max(start, end)

    def keys(self, partition: int, start: int, end: int) -> Iterator[tuple[int, bytes | None]]:
        """Offset and key of each record from ``start`` on, below ``end``."""
        for record in self._records(partition, start, end):
            yield record.offset, record.key

    def _records(self, partition: int, start: int, end: int) -> Iterator[SourceRecord]:
        if start >= end:
            return
        self._consumer.assign([TopicPartition(self._topic, partition, start)])
        try:
            yield from self._assigned(partition, start, end)
        finally:
            self._consumer.unassign()  # nothing is fetched between two reads

    def _assigned(self, partition: int, start: int, end: int) -> Iterator[SourceRecord]:
        heard = time.monotonic()
        while True:
            # No more than there can be: ``consume`` returns early only with as many as it was asked for.
            for message in self._consumer.consume(min(BATCH, end - start), POLL_SECONDS):
                heard = time.monotonic()
                error = message.error()
                if error is None:
                    record = _record(message)
                    if record.offset < end:
                        yield record
                    if record.offset >= end - 1:
                        return
                    start = record.offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    return
                elif not error.retriable() and error.code() not in (
                    KafkaError._TRANSPORT,
                    KafkaError._ALL_BROKERS_DOWN,
                ):
                    raise self._unreadable(partition, error.str())
            if time.monotonic() - heard > self._patience:
                raise self._unreadable(partition, f"nothing came for {self._patience:g} s")

    def _unreadable(self, partition: int, why: str) -> KafkaAccessError:
        return KafkaAccessError(
            f"Kafka at {', '.join(bootstrap_servers(self._kafka))}: could not read topic {self._topic}, "
            f"partition {partition}: {why}. Check that the broker runs and that this user may read the topic."
        )


def _record(message: Message) -> SourceRecord:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return SourceRecord(
        topic,
        partition,
        offset,
        message.timestamp()[1],
        _bytes(message.key()),
        _bytes(message.value()),
        headers_of(message),
    )


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
