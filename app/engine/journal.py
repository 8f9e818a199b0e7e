"""The one writer of a partition's durable record: group commit.

One write is under way at a time. Every change that comes up meanwhile shares the next write, which waits for its turn
among those of other partitions when it is small (``commit_turns.py``). A change is durable, and its caller goes on,
when the broker has acknowledged the record that holds it. Consumer records that belong to a change are acknowledged
before the partition record is sent, so a counted event is never missing from its consumer's record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Protocol

from app.delivery.counts import Settlement
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.record import SourceRecord
from app.delivery.record_digest import RecordDigest
from app.delivery.value_class import value_class
from app.delivery.verdict import Verdict
from app.engine.closing_days import Closing
from app.engine.commit_turns import Turn
from app.engine.consumer_records import ConsumerRecords
from app.engine.settled_digests import Pinned
from app.engine.state_log import StateLog

Change = Callable[[PartitionState], None]


class OffsetProgress(Protocol):
    """How far the owner of a partition has come, as the ledger knows it."""

    def decided_upto(self, decided: Collection[int]) -> int | None:
        """The highest offset of the main topic with nothing undecided at or below it; None: nothing was fetched yet.

        Args:
            decided: offsets above the record's ``upto`` that are decided too.
        """

    def retry_from(self) -> int | None:
        """Nothing of the retry topic below this offset is still needed; None: nothing was fetched yet."""


@value_class(frozen=True, slots=True)
class _Staged:
    change: Change
    done: asyncio.Future[None]
    offset: int
    settlement: Settlement | None
    record: SourceRecord | None


class Journal:
    """Writes the durable record of one owned partition in one generation.

    Args:
        state: the record as it will be claimed.
        log: where it is written.
        consumers: the records of the partition's consumers.
        closing: decides when the counts of closed days leave the record.
        turn: this partition's place among the commits of the worker.
        spawn: starts the writer as one of the partition's tasks.
    """

    def __init__(
        self,
        state: PartitionState,
        log: StateLog,
        consumers: ConsumerRecords,
        *,
        progress: OffsetProgress,
        closing: Closing,
        turn: Turn,
        spawn: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self.state = state  # what is durable; never ahead of the log
        self.consumers = consumers
        self.pinned = Pinned(state.pinned)  # durable with the next commit
        self._log = log
        self._progress = progress
        self._closing = closing
        self._turn = turn
        self._spawn = spawn
        self._staged: list[_Staged] = []
        self._writing = False

    async def claim(self) -> None:
        """Write the record under this owner's epoch: from the acknowledgement on, no earlier owner's write counts."""
        await self._log.write_state(self.state)

    def pin(self, last: RecordDigest | None) -> None:
        """Keep the digests of ``last``, the last record of the main topic that was handed over, and of the newest
        settled record. The next commit makes them durable."""
        self.pinned.add(one for one in (last, self.state.last_digest) if one is not None)

    def to_compare(self) -> list[RecordDigest]:
        """The records that the topic must still hold, including those that are not durable yet."""
        return list(dict.fromkeys((*self.pinned.all, *self.state.to_compare())))

    async def settle(
        self, offset: int, settlement: Settlement, *, dead_letter: bool, record: SourceRecord | None = None
    ) -> None:
        """Settle and count an event, durably; ``dead_letter``: it has one in the dead-letter topic."""
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
                    await self._log.write(dict.fromkeys(outdated))
        except BaseException as error:
            for staged in (*batch, *self._staged):
                if staged.done.done():
                    continue
                if isinstance(error, asyncio.CancelledError):
                    staged.done.cancel()
                else:
                    staged.done.set_exception(error)
            raise
        finally:
            self._writing = False

    async def _commit(self, batch: list[_Staged]) -> Collection[bytes]:
        """Make changes durable. Returns the keys of the state topic that are no longer needed."""
        state = self.state.copy()
        # These events were handed over before, so what had to be pinned first is pinned by now.
        state.pinned = self.pinned.all
        newest: SourceRecord | None = None
        for staged in batch:
            record = staged.record
            # A parked event was decided when it was parked: ``record`` is its copy then, not the main topic's record.
            if record is not None and (newest is None or record.offset > newest.offset):
                newest = newest if state.decided(record.offset) else record
            staged.change(state)
        if newest is not None and (state.last_digest is None or newest.offset > state.last_digest.offset):
            state.last_digest = RecordDigest.of(newest.offset, newest.key, newest.value)
        await self.consumers.settle((one.offset, one.settlement) for one in batch if one.settlement is not None)
        if (upto := self._progress.decided_upto(state.decided_above)) is not None:
            state.advance(upto)
        if (retry_from := self._progress.retry_from()) is not None:
            state.retry_from = retry_from
        move = self._closing.due(state, self._log)
        if move is not None:
            await self._log.write(move.documents)
            move.apply(state)
        await self._log.write_state(state)
        self.state = state
        return () if move is None else move.outdated
