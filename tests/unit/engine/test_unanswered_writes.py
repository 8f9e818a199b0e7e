"""Writes that the broker does not acknowledge are known by their topics, until they are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import MessageBatch

from app.kafka.durable_producer import DurableProducer, TooLarge, Write
from app.kafka.writability import SLOW_SECONDS, Writability


class SilentBroker:
    """Takes batches and acknowledges them when the test says so."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[Any]] = []

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[Any]:
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


async def test_a_write_counts_from_its_beginning_to_its_answer() -> None:
    now = 0.0
    producer, broker = DurableProducer({"enable_idempotence": True}), SilentBroker()
    producer._producer = broker  # type: ignore[assignment]
    producer.writability = Writability(lambda _: None, clock=lambda: now)
    one, other = (asyncio.create_task(producer.write_one(Write(topic, 0, b"k", b"v"))) for topic in ("state", "retry"))
    while len(broker.answers) < 2:
        await asyncio.sleep(0)
    assert producer.writability.reasons() == {}
    now = SLOW_SECONDS
    assert producer.writability.reasons().keys() == {"state", "retry"}
    broker.answers[0].set_result(SimpleNamespace(offset=7))
    assert await one == 7
    assert producer.writability.reasons().keys() == {"retry"}
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert producer.writability.reasons() == {}


class FullBroker(SilentBroker):
    """Has no room for the first writes: what aiokafka says when a batch is full and is not sent in time."""

    full = 3

    async def send(self, *given: Any, **named: Any) -> asyncio.Future[Any]:
        await asyncio.sleep(0)
        if self.full:
            self.full -= 1
            raise KafkaTimeoutError
        return await super().send(*given, **named)


async def test_writes_wait_for_room() -> None:
    producer, broker = DurableProducer({"enable_idempotence": True}), FullBroker()
    producer._producer = broker  # type: ignore[assignment]
    write = asyncio.create_task(producer.write_one(Write("state", 0, b"k", b"v")))
    while not broker.answers and not write.done():
        await asyncio.sleep(0)
    assert producer.writability.reasons() == {}, "the topic takes writes"
    broker.answers[0].set_result(SimpleNamespace(offset=7))
    assert await write == 7


class NarrowBroker(SilentBroker):
    """Takes no record of this size, until the topic's limit is raised."""

    narrow = True

    async def send(self, *given: Any, **named: Any) -> asyncio.Future[Any]:
        answer = await super().send(*given, **named)
        answer.set_exception(MessageSizeTooLargeError()) if self.narrow else answer.set_result(
            SimpleNamespace(offset=7)
        )
        return answer


async def test_what_cannot_be_made_smaller_waits_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.kafka.writability.TRY_SECONDS", 0.0)
    producer, broker = DurableProducer({"enable_idempotence": True}), NarrowBroker()
    producer._producer = broker  # type: ignore[assignment]
    with pytest.raises(TooLarge):
        await producer.write_one(Write("dlq", 0, b"k", b"v"))
    waiting = asyncio.create_task(producer.write_when_it_fits(Write("dlq", 0, None, b"v")))
    while len(broker.answers) < 4:
        await asyncio.sleep(0)
    assert "max.message.bytes" in producer.writability.reasons()["dlq"]
    other = asyncio.create_task(producer.write_one(Write("dlq", 0, b"k", b"v")))
    await asyncio.sleep(0)
    broker.narrow = False
    await waiting
    assert await other == 7
    assert producer.writability.reasons() == {}


async def test_writes_wait_for_a_partition_without_a_leader_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIOKafkaProducer, "start", lambda self: asyncio.sleep(0))
    producer = DurableProducer({"enable_idempotence": True, "request_timeout_ms": 1})
    await producer.start()
    made: Any = producer._producer
    batches = made._message_accumulator
    batch = MessageBatch(TopicPartition("state", 0), batches.create_builder(), batches._batch_ttl, 0)
    batch._ctime -= 7 * 24 * 3600
    assert not batch.expired()
