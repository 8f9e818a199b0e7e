"""What is durably known of the consumers of one partition: one record each, in a topic of its own.

A follower reads that topic. What this owner has just written may not have reached the follower yet, so it is kept here
and laid over what the follower has read.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

from app.delivery.consumer_record import ConsumerState, consumer_key
from app.delivery.counts import Settlement
from app.delivery.value_class import value_class
from app.engine.flow import AfterSettling, ConsumerStates, StatesUnavailable
from app.kafka.durable_producer import DurableProducer, Write

ConsumerNote = Callable[[ConsumerState], ConsumerState]

# This many consumer records are kept at hand. Those written lately stay until the follower has certainly read them ...
_RECENT_CONSUMERS = 2_000
_ONLY_READ = -1
# ... but when this many are in memory, the partition waits for the follower.
_MOST_RECENT = 20_000


@value_class(frozen=True, slots=True)
class _Held:
    """What the topic says of a consumer; ``offset``: where the record stands that was written here."""

    record: tuple[int, ConsumerState] | None
    offset: int


class ConsumerRecords:
    """The consumer records of one partition, read and written by its owner.

    Args:
        states: what the follower of the topic has read.
        topic: of the consumer records.
        after_settling: what a settled event makes of its consumer's record.
        until_lease: returns when the partition is surely owned.
    """

    def __init__(
        self,
        partition: int,
        epoch: int,
        states: ConsumerStates,
        *,
        producer: DurableProducer,
        topic: str,
        after_settling: AfterSettling,
        until_lease: Callable[[], Awaitable[None]],
    ) -> None:
        self._partition = partition
        self._epoch = epoch
        self._states = states
        self._producer = producer
        self._topic = topic
        self._after_settling = after_settling
        self._until_lease = until_lease
        self._recent: OrderedDict[str, _Held] = OrderedDict()

    async def find(self, consumer_id: str) -> tuple[int, ConsumerState] | None:
        """The newest record with its epoch. Only the owner of the partition writes these records."""
        if len(self._recent) >= _MOST_RECENT:
            await self._make_room()
        if known := self._recent.get(consumer_id):
            return known.record
        while True:
            try:
                record = self._states.get(self._partition, consumer_id)
            except StatesUnavailable:
                await self._states.available(self._partition)
                continue
            # It may have been written here while this waited.
            if known := self._recent.get(consumer_id):
                return known.record
            self._keep(consumer_id, _Held(record, _ONLY_READ))
            return record

    def remember(self, consumer_id: str, state: ConsumerState, offset: int) -> None:
        """A record was acknowledged at ``offset`` of its topic."""
        self._keep(consumer_id, _Held((self._epoch, state), offset))

    async def settle(
        self, settled: Iterable[tuple[int, Settlement]], noted: Iterable[tuple[str, ConsumerNote]] = ()
    ) -> dict[str, ConsumerState]:
        """Write the records of the consumers whose events are settled: (offset, settlement), in order; and of those
        about which something else was noted.

        Returns the records when they are acknowledged.
        """
        now_ms = int(time.time() * 1000)
        fresh: dict[str, ConsumerState] = {}
        outranked: dict[bytes, int] = {}
        for offset, settlement in settled:
            if (consumer := settlement.consumer_id) is None:
                continue
            before = fresh.get(consumer)
            if before is None and (found := await self.find(consumer)) is not None:
                epoch, before = found
                if epoch != self._epoch:
                    outranked[consumer_key(self._partition, epoch, consumer)] = epoch
            fresh[consumer] = self._after_settling(before, offset, settlement, now_ms)
        for consumer, note in noted:
            known = (self._epoch, fresh[consumer]) if consumer in fresh else await self.find(consumer)
            if known is None:
                continue
            epoch, state = known
            if epoch != self._epoch:
                outranked[consumer_key(self._partition, epoch, consumer)] = epoch
            fresh[consumer] = note(state)
        if not fresh:
            return fresh
        if any(epoch > self._epoch for epoch in outranked.values()):
            await self._until_lease()  # a later owner may have written it: this process was frozen
        writes = [
            Write(self._topic, self._partition, consumer_key(self._partition, self._epoch, c), s.encode())
            for c, s in fresh.items()
        ]
        tombstones = [Write(self._topic, self._partition, key, None) for key in outranked]
        offsets = await self._producer.write((*writes, *tombstones))
        for (consumer, state), written_at in zip(fresh.items(), offsets, strict=False):
            self.remember(consumer, state, written_at)
        return fresh

    async def _make_room(self) -> None:
        """Return when the follower has read the older half of what was written."""
        written = sorted(known.offset for known in self._recent.values())
        await self._states.catch_up(self._partition, written[len(written) // 2] + 1)
        self._let_go()

    def _keep(self, consumer_id: str, known: _Held) -> None:
        self._recent[consumer_id] = known
        self._recent.move_to_end(consumer_id)
        self._let_go()

    def _let_go(self) -> None:
        applied = None
        while len(self._recent) > _RECENT_CONSUMERS:
            oldest, held = next(iter(self._recent.items()))
            if held.offset != _ONLY_READ:
                applied = self._states.applied(self._partition) if applied is None else applied
                if held.offset >= applied:
                    break
            del self._recent[oldest]
