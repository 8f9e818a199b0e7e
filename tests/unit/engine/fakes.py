"""A producer whose acknowledgements the test gives, and consumer records in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from app.delivery.consumer_record import ConsumerState
from app.kafka.durable_producer import TooLarge, Write


class FakeProducer:
    """Keeps what was written. ``hold()``: acknowledge nothing until ``release()``."""

    def __init__(self) -> None:
        self.written: list[Write] = []
        self.refused_topics: set[str] = set()
        self.waiting: frozenset[asyncio.Task[object]] = frozenset()
        self._go = asyncio.Event()
        self._go.set()

    def hold(self) -> None:
        self._go.clear()

    def release(self) -> None:
        self._go.set()

    async def write(self, records: Iterable[Write]) -> list[int]:
        batch = list(records)
        if any(record.topic in self.refused_topics for record in batch):
            raise TooLarge("refused")
        await self._go.wait()
        offsets = []
        for record in batch:
            offsets.append(sum(record.topic == other.topic for other in self.written))
            self.written.append(record)
        return offsets

    async def write_one(self, record: Write) -> int:
        return (await self.write((record,)))[0]

    async def write_when_it_fits(self, record: Write) -> None:
        await self.write_one(record)

    def of(self, topic: str) -> list[Write]:
        return [record for record in self.written if record.topic == topic]


class MemoryStates:
    """``ConsumerStates`` that knows what it was told."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, str], tuple[int, ConsumerState]] = {}
        self.applied_upto = 0

    async def catch_up(self, partition: int, end: int) -> None:
        """Nothing to wait for."""

    def get(self, partition: int, consumer_id: str) -> tuple[int, ConsumerState] | None:
        return self.known.get((partition, consumer_id))

    async def available(self, partition: int) -> None:
        """Always."""

    def applied(self, partition: int) -> int:
        return self.applied_upto
