"""Writes that count: a record is written when the broker says so.

An idempotent producer (KIP-98) of its own, not Faust's: without sequence numbers a batch that is repeated after a
timeout can overtake a newer one, and an old state record would win over its successor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import RecordMetadata

from app.domain.record import Headers


@dataclass(frozen=True, slots=True)
class Write:
    """One record to be written; ``partition`` None lets the key decide (only for topics that we alone write)."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class TooLarge(Exception):
    """The record does not fit into its topic."""


class DurableProducer:
    """Thin: one aiokafka producer, one method.

    Args:
        options: arguments for ``AIOKafkaProducer``; they must ask for idempotence, see above.
        largest: topic -> bytes that a record may have there, batch header included. The broker must never be the one
            to refuse a record: aiokafka has used up its sequence number by then, and every later write to that
            partition fails (OutOfOrderSequenceNumber). Compressed records of the main topic may be of any size.
    """

    def __init__(self, options: Mapping[str, Any], largest: Mapping[str, int] | None = None) -> None:
        if not options.get("enable_idempotence"):
            raise ValueError("a durable producer needs enable_idempotence")
        self._options = options
        self._largest = largest or {}
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            aiokafka.errors.KafkaError: the broker cannot be reached.
        """
        producer = AIOKafkaProducer(**self._options)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Send what is buffered and disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def write(self, records: Iterable[Write]) -> list[int]:
        """Write and wait for every acknowledgement; offsets in the order given. Idempotent batches never expire.

        A cancelled caller leaves the writes under way: they may or may not arrive.

        Raises:
            TooLarge: a record is larger than its topic takes.
        """
        try:
            pending = [await self._send(record) for record in records]
            done = await asyncio.shield(asyncio.gather(*pending))
        except MessageSizeTooLargeError as error:
            raise TooLarge(str(error)) from error
        return [metadata.offset for metadata in done]

    async def _send(self, record: Write) -> asyncio.Future[RecordMetadata]:
        assert self._producer is not None, "start() comes first"
        key, value, headers = record.key, record.value, list(record.headers)
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
        if size > self._largest.get(record.topic, size):
            raise TooLarge(f"{size} bytes are too large for {record.topic}")
        if key is None and value is None and record.partition is not None:
            # Kafka takes a record with neither key nor value, and so may hold one that has to become a dead letter;
            # aiokafka's send refuses it, its batches do not.
            batch = self._producer.create_batch()
            batch.append(timestamp=None, key=None, value=None, headers=headers)
            sending = self._producer.send_batch(batch, record.topic, partition=record.partition)
        else:
            sending = self._producer.send(record.topic, value, key, record.partition, headers=headers)
        acknowledged: asyncio.Future[RecordMetadata] = await sending
        return acknowledged

    async def write_one(self, record: Write) -> int:
        """As ``write``, for one record; its offset."""
        return (await self.write((record,)))[0]
