"""Durable writes: a record counts as written when the broker has acknowledged it.

The engine has an idempotent producer (KIP-98) of its own and does not use Faust's. Without sequence numbers, a batch
that is repeated after a timeout can overtake a newer one, and an old state record would replace its successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import RecordMetadata

from app.delivery.record import Headers
from app.delivery.value_class import value_class
from app.kafka.broker_calls import make_impatient
from app.kafka.produce_answers import Answers
from app.kafka.writability import Writability

log = structlog.get_logger(__name__)

# Far below aiokafka's limit for a batch, so that no batch is ever full.
BATCH_BYTES = 200_000
RECORD_OVERHEAD = 100

# aiokafka's default request timeout.
REQUEST_MS = 40_000
ANSWER_SECONDS = 1.0

# How long a stop waits for the broker to acknowledge, and then for the connections to close.
STOP_SECONDS = 3.0
CLOSE_SECONDS = 1.0


@value_class(frozen=True, slots=True)
class Write:
    """One record to be written. ``partition`` None: the key decides (only for topics that no other program writes)."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class ProducerEnded(Exception):
    """A task of the producer has ended: nothing more would be written."""


class TooLarge(Exception):
    """The record does not fit into its topic."""


class DurableProducer:
    """Writes records through one aiokafka producer.

    When a topic is missing, may not be written, or refuses a record, its writes wait: see ``refusals.py``.

    Args:
        options: arguments for ``AIOKafkaProducer``. ``enable_idempotence`` is required, see above.
        largest: topic -> the largest record, in bytes, batch header included. A larger record is refused here.
            A compressed record of the main topic may have any size once it is unpacked.
    """

    def __init__(self, options: Mapping[str, Any], largest: Mapping[str, int] | None = None) -> None:
        if not options.get("enable_idempotence"):
            raise ValueError("a durable producer needs enable_idempotence")
        self._options = options
        self._largest = largest or {}
        self._producer: AIOKafkaProducer | None = None
        self._answers: Answers | None = None
        self._watching: asyncio.Task[None] | None = None
        self.writability = Writability(lambda topic: self._answers.tried_on.get(topic) if self._answers else None)

    async def start(self) -> None:
        """Connect.

        Raises:
            aiokafka.errors.KafkaError: the broker cannot be reached.
        """
        producer = AIOKafkaProducer(**self._options)
        # When a partition has no leader for the request timeout, aiokafka would fail the waiting writes, and the worker
        # would end, although the leader may come back any moment (a broker restarts, its disk is full). With this
        # setting the writes wait, and the log says so.
        producer._message_accumulator._batch_ttl = math.inf
        # A leader that waits for its replicas reports that after the request timeout. That answer must not be too late.
        seconds = self._options.get("request_timeout_ms", REQUEST_MS) / 1000 + ANSWER_SECONDS
        make_impatient(producer.client, seconds, seconds)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer, self._answers = producer, Answers(producer)
        self._watching = asyncio.create_task(self.writability.watch(), name="writability")

    def check(self) -> None:
        """Check that the tasks of the producer run.

        Raises:
            ProducerEnded: one has ended; writes would wait forever.
        """
        if self._producer is None:
            return
        tasks = {"sender": self._producer._sender.sender_task, "metadata": self._producer.client._sync_task}
        for name, task in tasks.items():
            if task is not None and task.done():
                cause = None if task.cancelled() else task.exception()
                raise ProducerEnded(f"the {name} task of the Kafka producer has ended ({cause!r})") from cause

    async def stop(self) -> None:
        """Send what is buffered and disconnect.

        Without a broker that could take forever, because idempotent batches never expire. So it gives up after
        ``STOP_SECONDS``: at a stop, no task waits for the writes any more.
        """
        if self._producer is None:
            return
        if self._watching is not None:
            self._watching.cancel()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._producer.stop()
        except TimeoutError:
            log.warning("stopped with writes that the broker has not taken; their events are done again")
            # TLS waits half a minute for the other side's goodbye.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._producer.client.close()

    async def write(self, records: Iterable[Write]) -> list[int]:
        """Write, and wait for every acknowledgement. Returns the offsets in the order of the records.

        Idempotent batches never expire. If the caller is cancelled, the writes in progress may or may not arrive.

        Raises:
            TooLarge: a record is larger than its topic allows.
            KafkaError: the producer cannot go on.
        """
        runs = list(_runs(records))
        if not runs:
            return []
        token = self.writability.begin({run[0].topic for run in runs})
        try:
            pending = [(run, await self._begin(run)) for run in runs]
            done = [(await self._finish(run, begun), len(run)) for run, begun in pending]
        except MessageSizeTooLargeError as error:
            raise TooLarge(str(error)) from error
        finally:
            self.writability.end(token)
        return [metadata.offset + at for metadata, length in done for at in range(length)]

    async def _begin(self, run: Sequence[Write]) -> asyncio.Future[RecordMetadata] | KafkaError | None:
        """Send records of one partition. Returns the error if they were not sent; None: their topic refused the last
        write, so nothing was sent."""
        if self.writability.is_closed(run[0].topic):
            return None
        try:
            return await self._send(run)
        except KafkaError as error:
            return error

    async def _finish(
        self, run: Sequence[Write], begun: asyncio.Future[RecordMetadata] | KafkaError | None
    ) -> RecordMetadata:
        """Wait for the acknowledgement, and before that until the topic takes the records."""
        refused = begun if isinstance(begun, KafkaError) else None
        if begun is not None and refused is None:
            try:
                return await asyncio.shield(begun)
            except KafkaError as error:
                refused = error

        if isinstance(refused, MessageSizeTooLargeError):
            raise refused

        async def again() -> RecordMetadata:
            try:
                return await asyncio.shield(await self._send(run))
            except MessageSizeTooLargeError as error:
                raise TooLarge(str(error)) from error

        return await self.writability.until_written(run[0].topic, again, refused)

    @property
    def waiting(self) -> frozenset[asyncio.Task[object]]:
        """Tasks whose writes wait for a topic that takes none. None of their writes is in progress."""
        return self.writability.waiting

    async def _send(self, run: Sequence[Write]) -> asyncio.Future[RecordMetadata]:
        """Send records of one partition as soon as the producer has room for them."""
        while True:
            try:
                return await self._append(run)
            except KafkaTimeoutError:  # the buffer is full of earlier records; none of these was taken
                continue

    async def _append(self, run: Sequence[Write]) -> asyncio.Future[RecordMetadata]:
        assert self._producer is not None, "start() comes first"
        for record in run:
            size = DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers))
            if size > self._largest.get(record.topic, size):
                raise TooLarge(f"{size} bytes are too large for {record.topic}")
        first = run[0]
        if len(run) == 1 and not (first.key is None and first.value is None):
            sending = self._producer.send(
                first.topic, first.value, first.key, first.partition, headers=list(first.headers)
            )
        else:
            # One batch, acknowledged as a whole, costs much less than single sends. Besides, aiokafka's ``send``
            # refuses a record without key and value, which Kafka allows. Its batches accept such a record.
            batch = self._producer.create_batch()
            for record in run:
                batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
            sending = self._producer.send_batch(batch, first.topic, partition=first.partition)
        acknowledged: asyncio.Future[RecordMetadata] = await sending
        return acknowledged

    async def write_one(self, record: Write) -> int:
        """As ``write``, for one record. Returns its offset."""
        return (await self.write((record,)))[0]

    async def write_when_it_fits(self, record: Write) -> None:
        """As ``write_one``, for a record that cannot be made smaller: waits until its topic allows this size."""

        async def once() -> RecordMetadata:
            try:
                return await asyncio.shield(await self._send((record,)))
            except TooLarge as error:
                raise MessageSizeTooLargeError(str(error)) from error

        token = self.writability.begin({record.topic})
        try:
            await self.writability.until_written(record.topic, once)
        finally:
            self.writability.end(token)


def _runs(records: Iterable[Write]) -> Iterator[list[Write]]:
    """Groups of consecutive records that fit into one batch: of one partition, and together small enough."""
    run: list[Write] = []
    size = 0
    for record in records:
        one = len(record.key or b"") + len(record.value or b"") + RECORD_OVERHEAD
        fits = run and record.partition is not None and size + one <= BATCH_BYTES
        if not (fits and (record.topic, record.partition) == (run[0].topic, run[0].partition)):
            if run:
                yield run
            run, size = [], 0
        run.append(record)
        size += one + sum(len(name) + len(value or b"") for name, value in record.headers)
    if run:
        yield run
