"""Writes that the broker does not acknowledge are known by their topics, until they are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import MessageBatch

from app.engine.producer import DurableProducer, Write
from app.engine.writability import SLOW_SECONDS, Writability


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


async def test_writes_wait_for_a_partition_without_a_leader_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIOKafkaProducer, "start", lambda self: asyncio.sleep(0))
    producer = DurableProducer({"enable_idempotence": True, "request_timeout_ms": 1})
    await producer.start()
    made: Any = producer._producer
    batches = made._message_accumulator
    batch = MessageBatch(TopicPartition("state", 0), batches.create_builder(), batches._batch_ttl, 0)
    batch._ctime -= 7 * 24 * 3600
    assert not batch.expired()
