"""The one writer of a partition's durable record: group commit.

One write is under way at a time; every change that comes up meanwhile shares the next one, which waits for its turn
among those of other partitions when it is small (``turns.py``). A change is durable, and its caller goes on, when the
broker has acknowledged the record that holds it. Consumer records that belong to a change are acknowledged before the
partition record is sent, so a counted event is never missing from its consumer's record.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, MutableMapping
from datetime import date

from app.delivery.closed_days import Move, plan_move
from app.delivery.consumer_record import ConsumerState, consumer_key
from app.delivery.counts import Settlement
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.record import SourceRecord
from app.delivery.record_digest import RecordDigest
from app.delivery.record_format import partition_key
from app.delivery.value_class import value_class
from app.delivery.verdict import Verdict
from app.engine.commit_turns import Turn
from app.engine.flow import AfterSettling, ConsumerStates, StatesUnavailable
from app.engine.settled_digests import Pinned
from app.kafka.durable_producer import DurableProducer, Write

Change = Callable[[PartitionState], None]

# So many consumer records are kept at hand; those written lately, until the follower has certainly read them.
_RECENT_CONSUMERS = 2_000
_ONLY_READ = -1
# The follower may be so many records behind what is written here. Then the partition waits for it: they stay in memory.
_MOST_RECENT = 20_000


@value_class(frozen=True, slots=True)
class _Known:
    """What the log says of a consumer; ``offset`` of our own record there."""

    record: tuple[int, ConsumerState] | None
    offset: int


class ConsumerRecords:
    """The consumers' records of one partition: what the follower has read, overlaid by what was just written."""

    def __init__(self, partition: int, epoch: int, states: ConsumerStates) -> None:
        self._partition = partition
        self._epoch = epoch
        self._states = states
        self._recent: OrderedDict[str, _Known] = OrderedDict()

    async def find(self, consumer_id: str) -> tuple[int, ConsumerState] | None:
        """(epoch, state), the newest there is: nobody else writes the records of a partition that is ours."""
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
            # Written by us while we waited.
            if known := self._recent.get(consumer_id):
                return known.record
            self._keep(consumer_id, _Known(record, _ONLY_READ))
            return record

    def remember(self, consumer_id: str, state: ConsumerState, offset: int) -> None:
        """A record was acknowledged at ``offset`` of its topic."""
        self._keep(consumer_id, _Known((self._epoch, state), offset))

    async def _make_room(self) -> None:
        """Return when the follower has read the older half of what was written."""
        written = sorted(known.offset for known in self._recent.values())
        await self._states.catch_up(self._partition, written[len(written) // 2] + 1)
        self._let_go()

    def _keep(self, consumer_id: str, known: _Known) -> None:
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


class Closing:
    """Decides when closed days leave the record: not more often than every ``every_seconds``.

    Args:
        today: UTC.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        keep_days: int,
        every_seconds: float,
        today: Callable[[], date],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_days = keep_days
        self._every_seconds = every_seconds
        self._today = today
        self._clock = clock
        self._next = float("-inf")
        self._number = 0

    def due(
        self, state: PartitionState, partition: int, epoch: int, read: Callable[[bytes], bytes | None]
    ) -> Move | None:
        """What is to be moved now, if anything."""
        if self._clock() < self._next:
            return None
        self._next = self._clock() + self._every_seconds
        self._number += 1
        return plan_move(
            state,
            partition=partition,
            epoch=epoch,
            number=self._number,
            read=read,
            today=self._today(),
            keep_days=self._keep_days,
        )


@value_class(frozen=True, slots=True)
class _Staged:
    change: Change
    done: asyncio.Future[None]
    offset: int
    settlement: Settlement | None
    record: SourceRecord | None


class Journal:
    """The durable record of one owned partition in one generation.

    Args:
        decided_upto: given the decided offsets above the record's ``upto``, the highest offset of the main topic with
            nothing undecided at or below it (None: nothing fetched yet).
        retry_from: nothing of the retry topic below this offset is still needed (None: nothing fetched yet).
        after_settling: what a settled event makes of its consumer's record.
        table: the state table's memory, kept equal to its log.
        closing: when and what of the counts leaves the record.
        turn: this partition's among all of the worker.
        spawn: starts the writer as one of the partition's tasks.
    """

    def __init__(
        self,
        partition: int,
        epoch: int,
        state: PartitionState,
        *,
        producer: DurableProducer,
        state_topic: str,
        consumers_topic: str,
        consumers: ConsumerRecords,
        after_settling: AfterSettling,
        decided_upto: Callable[[Collection[int]], int | None],
        retry_from: Callable[[], int | None],
        table: MutableMapping[bytes, bytes],
        closing: Closing,
        turn: Turn,
        spawn: Callable[..., object],
    ) -> None:
        self.state = state  # what is durable; never ahead of the log
        self.consumers = consumers
        self.pinned = Pinned(state.pinned)  # durable with the next commit
        self._partition = partition
        self._epoch = epoch
        self._producer = producer
        self._state_topic = state_topic
        self._consumers_topic = consumers_topic
        self._after_settling = after_settling
        self._decided_upto = decided_upto
        self._retry_from = retry_from
        self._table = table
        self._closing = closing
        self._turn = turn
        self._spawn = spawn
        self._staged: list[_Staged] = []
        self._writing = False

    async def claim(self) -> None:
        """Write the record under this owner's epoch: from the acknowledgement on, no earlier owner's write counts."""
        await self._put(self.state)

    def pin(self, last: RecordDigest | None) -> None:
        """Keep the digests of ``last``, the last record of the main topic that was handed over, and of the newest
        one that is settled. The next commit makes that durable."""
        self.pinned.add(one for one in (last, self.state.last_digest) if one is not None)

    def to_compare(self) -> list[RecordDigest]:
        """The records that the topic must still hold, durable or not."""
        return list(dict.fromkeys((*self.pinned.all, *self.state.to_compare())))

    async def settle(
        self, offset: int, settlement: Settlement, *, dead_letter: bool, record: SourceRecord | None = None
    ) -> None:
        """Settle and count an event, durably; ``dead_letter``: one stands in the DLQ."""
        await self._write(
            lambda state: state.settle(offset, settlement, dead_letter=dead_letter), offset, settlement, record
        )

    async def park(self, offset: int, entry: ParkedEvent, record: SourceRecord | None = None) -> None:
        """Park an event, durably; its copy is already in the retry topic."""
        await self._write(lambda state: state.park(offset, entry), offset, record=record)

    async def note_attempt(self, offset: int, entry: ParkedEvent) -> None:
        """Note a failed attempt of a parked event, durably."""
        await self._write(lambda state: state.note_attempt(offset, entry), offset)

    async def give_up(self, offset: int, verdict: Verdict) -> None:
        """Note, durably, that an event goes to the dead-letter topic."""
        await self._write(lambda state: state.give_up(offset, verdict), offset)

    async def _write(
        self,
        change: Change,
        offset: int,
        settlement: Settlement | None = None,
        record: SourceRecord | None = None,
    ) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._staged.append(_Staged(change, done, offset, settlement, record))
        if not self._writing:
            self._writing = True
            self._spawn(self._write_staged())
        else:
            self._turn.grown(len(self._staged))
        await done

    async def _write_staged(self) -> None:
        batch: list[_Staged] = []
        try:
            while self._staged:
                await self._turn.begin(len(self._staged))
                try:
                    batch, self._staged = self._staged, []
                    outdated = await self._commit(batch)
                finally:
                    self._turn.end()
                for staged in batch:
                    if not staged.done.done():
                        staged.done.set_result(None)
                if outdated:
                    await self._put_all(dict.fromkeys(outdated))
        except BaseException as error:
            for staged in (*batch, *self._staged):
                if not staged.done.done():
                    staged.done.cancel() if isinstance(error, asyncio.CancelledError) else staged.done.set_exception(
                        error
                    )
            raise
        finally:
            self._writing = False

    async def _commit(self, batch: list[_Staged]) -> Collection[bytes]:
        """Make changes durable. Returns the keys of the state topic that are not needed any more."""
        state = self.state.copy()
        # What is settled here was handed over before, so what had to be pinned for it is.
        state.pinned = self.pinned.all
        newest: SourceRecord | None = None
        for staged in batch:
            record = staged.record
            # A parked event was decided before: its copy is another record.
            if record is not None and (newest is None or record.offset > newest.offset):
                newest = newest if state.decided(record.offset) else record
            staged.change(state)
        if newest is not None and (state.last_digest is None or newest.offset > state.last_digest.offset):
            state.last_digest = RecordDigest.of(newest.offset, newest.key, newest.value)
        await self._put_consumers(batch)
        if (upto := self._decided_upto(state.decided_above)) is not None:
            state.advance(upto)
        if (retry_from := self._retry_from()) is not None:
            state.retry_from = retry_from
        move = self._closing.due(state, self._partition, self._epoch, self._table.get)
        if move is not None:
            await self._put_all(move.documents)
            move.apply(state)
        await self._put(state)
        self.state = state
        return () if move is None else move.outdated

    async def _put(self, state: PartitionState) -> None:
        await self._put_all({partition_key(self._partition, self._epoch): state.encode()})

    async def _put_all(self, records: Mapping[bytes, bytes | None]) -> None:
        await self._producer.write(Write(self._state_topic, self._partition, k, v) for k, v in records.items())
        for key, value in records.items():
            if value is None:
                self._table.pop(key, None)
            else:
                self._table[key] = value

    async def _put_consumers(self, batch: list[_Staged]) -> None:
        now_ms = int(time.time() * 1000)
        fresh: dict[str, ConsumerState] = {}
        outranked: list[bytes] = []
        for staged in batch:
            if staged.settlement is None or (consumer := staged.settlement.consumer_id) is None:
                continue
            before = fresh.get(consumer)
            if before is None and (found := await self.consumers.find(consumer)) is not None:
                epoch, before = found
                if epoch != self._epoch:
                    outranked.append(consumer_key(self._partition, epoch, consumer))
            fresh[consumer] = self._after_settling(before, staged.offset, staged.settlement, now_ms)
        if not fresh:
            return
        writes = [
            Write(self._consumers_topic, self._partition, consumer_key(self._partition, self._epoch, c), s.encode())
            for c, s in fresh.items()
        ]
        tombstones = [Write(self._consumers_topic, self._partition, key, None) for key in outranked]
        offsets = await self._producer.write((*writes, *tombstones))
        for (consumer, state), offset in zip(fresh.items(), offsets, strict=False):
            self.consumers.remember(consumer, state, offset)
