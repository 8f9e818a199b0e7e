"""A producer whose acknowledgements the test gives, and consumer records in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from app.delivery.consumer_record import ConsumerState
from app.delivery.dead_letter_record import DeadLetter, LetterStatus
from app.delivery.letter_id import LetterId, letter_key, parse_letter_key
from app.delivery.operator_task import LetterFilter
from app.engine.letter_sources import KnownLetter
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

    def erased(self, consumer_id: str) -> bool:
        return any(state.erased >= 0 for (_, one), (_, state) in self.known.items() if one == consumer_id)

    async def available(self, partition: int) -> None:
        """Always."""

    def applied(self, partition: int) -> int:
        return self.applied_upto


class MemoryLetters:
    """``Letters`` that knows what it was told."""

    def __init__(self) -> None:
        self.known: dict[LetterId, KnownLetter] = {}
        self.applied_upto = 0

    async def catch_up(self, partition: int, end: int) -> None:
        """Nothing to wait for."""

    async def available(self, partition: int) -> None:
        """Always."""

    def applied(self, partition: int) -> int:
        return self.applied_upto

    def apply(self, record: Write) -> None:
        """A record of the topic: the one with the highest epoch counts."""
        letter, epoch = parse_letter_key(record.key or b"")
        before = self.known.get(letter)
        if before is not None and before.epoch > epoch:
            return
        if record.value is None:
            if before is not None and before.epoch == epoch:
                del self.known[letter]
        else:
            self.known[letter] = KnownLetter(letter, epoch, DeadLetter.decode(record.value))

    def record(self, letter: LetterId) -> KnownLetter | None:
        return self.known.get(letter)

    def open_after(
        self, partition: int, after: int, chosen: LetterFilter, limit: int, *, foreign: bool = False
    ) -> list[KnownLetter]:
        return [
            known
            for letter, known in sorted(self.known.items())
            if (letter.partition, letter.foreign) == (partition, foreign)
            and letter.offset > after
            and known.record.status is LetterStatus.OPEN
            and chosen.matches(known.record)
        ][:limit]

    def open_number(self, partition: int) -> int:
        return sum(
            one.partition == partition and not one.foreign and known.record.status is LetterStatus.OPEN
            for one, known in self.known.items()
        )

    def open_of(self, partition: int, consumer: str, below: int, limit: int) -> list[KnownLetter]:
        chosen = LetterFilter(consumer=consumer)
        return [known for known in self.open_after(partition, -1, chosen, 2**31) if known.id.offset < below][:limit]

    def forgettable(self, partition: int, before_ms: int, limit: int) -> list[tuple[LetterId, list[bytes]]]:
        return [
            (letter, [letter_key(letter, known.epoch)])
            for letter, known in sorted(self.known.items())
            if known.record.status is not LetterStatus.OPEN and known.record.changed_ms < before_ms
        ][:limit]
