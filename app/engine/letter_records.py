"""The dead-letter records of one partition, as its owner reads and writes them.

A follower reads their topic. What this owner has just written may not have reached the follower yet, so it is kept here
and laid over what the follower has read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice

from app.delivery.dead_letter_record import DeadLetter, LetterStatus
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import LetterFilter
from app.delivery.value_class import value_class
from app.engine.flow import StatesUnavailable
from app.engine.letter_sources import KnownLetter, Letters
from app.kafka.durable_producer import DurableProducer, Write

# When this many records that the follower has not read are in memory, the partition waits for it.
_MOST_WRITTEN = 20_000


@value_class(frozen=True, slots=True)
class _Written:
    """A record that was written here. ``offset``: where it stands in the topic."""

    letter: KnownLetter
    offset: int


class LetterRecords:
    """The records of one partition in one generation.

    Args:
        letters: what the follower of the topic has read.
        topic: of the dead-letter records.
        until_lease: returns when the partition is surely owned.
        end: where the topic ended when the partition was taken over.
    """

    def __init__(
        self,
        partition: int,
        epoch: int,
        letters: Letters,
        *,
        producer: DurableProducer,
        topic: str,
        until_lease: Callable[[], Awaitable[None]],
        end: int = 0,
    ) -> None:
        self.partition = partition
        self._epoch = epoch
        self._letters = letters
        self._producer = producer
        self._topic = topic
        self._until_lease = until_lease
        self._end = end
        self._written: OrderedDict[LetterId, _Written] = OrderedDict()

    async def read(self) -> None:
        """Return when everything has been read that stood in the topic at the take-over."""
        await self._letters.catch_up(self.partition, self._end)

    async def find(self, letter: LetterId) -> KnownLetter | None:
        """The record of a dead letter, when it can be read."""
        while True:
            try:
                return self.get(letter)
            except StatesUnavailable:
                await self._letters.available(self.partition)

    def get(self, letter: LetterId) -> KnownLetter | None:
        """The record of a dead letter.

        Raises:
            StatesUnavailable: the records are being read in again.
        """
        written = self._written.get(letter)
        return self._letters.record(letter) if written is None else written.letter

    async def write(self, records: Mapping[LetterId, DeadLetter]) -> None:
        """Write records; returns when they are acknowledged."""
        if len(self._written) >= _MOST_WRITTEN:
            await self._make_room()
        known = {letter: self._outranked(letter) for letter in records}
        if any(epoch is not None and epoch > self._epoch for epoch in known.values()):
            await self._until_lease()  # a later owner may have written it: this process was frozen
        keys = [letter_key(letter, epoch) for letter, epoch in known.items() if epoch is not None]
        writes = [
            Write(self._topic, self.partition, letter_key(letter, self._epoch), record.encode())
            for letter, record in records.items()
        ]
        tombstones = [Write(self._topic, self.partition, key, None) for key in keys]
        offsets = await self._producer.write((*writes, *tombstones))
        for (letter, record), offset in zip(records.items(), offsets, strict=False):
            self._written[letter] = _Written(KnownLetter(letter, self._epoch, record), offset)
            self._written.move_to_end(letter)
        self._let_go()

    def open_after(self, after: int, chosen: LetterFilter, limit: int, *, foreign: bool = False) -> list[KnownLetter]:
        """Open dead letters with a higher offset, lowest first.

        Raises:
            StatesUnavailable: the records are being read in again.
        """

        def fits(known: KnownLetter) -> bool:
            return known.id.offset > after and known.id.foreign == foreign and chosen.matches(known.record)

        def page(start: int, size: int) -> Iterable[KnownLetter]:
            return self._letters.open_after(self.partition, start, chosen, size, foreign=foreign)

        return self._merged(fits, page, after, limit)

    def open_of(self, consumer: str, below: int, limit: int) -> list[KnownLetter]:
        """Open dead letters of a consumer with a lower offset, lowest first; no foreign ones.

        Raises:
            StatesUnavailable: the records are being read in again.
        """

        def fits(known: KnownLetter) -> bool:
            same = known.record.settlement.consumer_id == consumer
            return same and known.id.offset < below and not known.id.foreign

        # A page has more than is asked for, because some of it may have been written here since.
        read = self._letters.open_of(self.partition, consumer, below, limit + len(self._written))
        return self._laid_over(fits, read)[:limit]

    def _merged(
        self,
        fits: Callable[[KnownLetter], bool],
        page: Callable[[int, int], Iterable[KnownLetter]],
        after: int,
        limit: int,
    ) -> list[KnownLetter]:
        """Pages of the follower's answer with what was written here, until there are enough."""
        found: dict[LetterId, KnownLetter] = {}
        own = {known.id: known for known in self._laid_over(fits, ())}
        start = after
        while True:
            read = list(page(start, limit))
            for known in read:
                if known.id not in self._written:
                    found[known.id] = known
            if len(read) < limit or len(found) >= limit:
                break
            start = read[-1].id.offset
        # Behind the last page that was read, the follower may know dead letters that stand before one of ours.
        last = read[-1].id.offset if len(read) == limit else None
        found |= {letter: known for letter, known in own.items() if last is None or letter.offset <= last}
        return list(islice((found[letter] for letter in sorted(found)), limit))

    def _laid_over(self, fits: Callable[[KnownLetter], bool], read: Iterable[KnownLetter]) -> list[KnownLetter]:
        found = {known.id: known for known in read if known.id not in self._written}
        for letter, written in self._written.items():
            if written.letter.record.status is LetterStatus.OPEN and fits(written.letter):
                found[letter] = written.letter
        return [found[letter] for letter in sorted(found)]

    def _outranked(self, letter: LetterId) -> int | None:
        """The epoch of the record that a new one replaces, if it has another key."""
        try:
            known = self.get(letter)
        except StatesUnavailable:
            return None  # it stays, and has the lower epoch
        return known.epoch if known is not None and known.epoch != self._epoch else None

    async def _make_room(self) -> None:
        """Return when the follower has read the older half of what was written."""
        offsets = sorted(written.offset for written in self._written.values())
        await self._letters.catch_up(self.partition, offsets[len(offsets) // 2] + 1)
        self._let_go()

    def _let_go(self) -> None:
        applied = self._letters.applied(self.partition)
        while self._written:
            letter, written = next(iter(self._written.items()))
            if written.offset >= applied:
                break
            del self._written[letter]
