"""Writes that the broker does not acknowledge are known by their topics, until they are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

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
