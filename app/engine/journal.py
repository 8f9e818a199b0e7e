"""The one writer of a partition's durable record: group commit.

One write is under way at a time. Every change that comes up meanwhile shares the next write, which waits for its turn
among those of other partitions when it is small (``commit_turns.py``). A change is durable, and its caller goes on,
when the broker has acknowledged the record that holds it. Consumer records and dead-letter records that belong to a
change are acknowledged before the partition record is sent, so a counted event is never missing from its consumer's
record, nor an open dead letter from its own.

Such records rely on what an earlier commit made durable. Whether that commit counts is known only while this worker is
still the owner, so a commit with such records begins when the lease holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import Settlement
from app.delivery.dead_letter_record import DeadLetter
from app.delivery.letter_id import LetterId
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.readmitted import Readmitted
from app.delivery.record import SourceRecord
from app.delivery.record_digest import RecordDigest
from app.delivery.value_class import value_class
from app.delivery.verdict import Verdict
from app.engine.closing_days import Closing
from app.engine.commit_turns import Turn
from app.engine.consumer_records import ConsumerNote, ConsumerRecords
from app.engine.letter_records import LetterRecords
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
    letter: tuple[LetterId, DeadLetter] | None = None
    is_open: bool = False
    noted: tuple[str, ConsumerNote] | None = None


class Journal:
    """Writes the durable record of one owned partition in one generation.

    Args:
        state: the record as it will be claimed.
        log: where it is written.
        consumers: the records of the partition's consumers.
        letters: the records of its dead letters.
        until_lease: returns when this worker is known to be the owner.
        closing: decides when the counts of closed days leave the record.
        turn: this partition's place among the commits of the worker.
        spawn: starts the writer as one of the partition's tasks.
    """

    def __init__(
        self,
        state: PartitionState,
        log: StateLog,
        consumers: ConsumerRecords,
        letters: LetterRecords,
        *,
        until_lease: Callable[[], Awaitable[None]],
        progress: OffsetProgress,
        closing: Closing,
        turn: Turn,
        spawn: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self.state = state  # what is durable; never ahead of the log
        self.consumers = consumers
        self.letters = letters
        self.pinned = Pinned(state.pinned)  # durable with the next commit
        self._log = log
        self._until_lease = until_lease
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
        self,
        offset: int,
        settlement: Settlement,
        *,
        dead_letter: bool,
        record: SourceRecord | None = None,
        letter: DeadLetter | None = None,
    ) -> None:
        """Settle and count an event, durably.

        Args:
            dead_letter: it has one in the dead-letter topic.
            record: of the main topic.
            letter: the dead-letter record, if it changes.
        """
        counted_from = self._closing.first_kept()
        await self._write(
            lambda state: state.settle(offset, settlement, dead_letter=dead_letter, counted_from=counted_from),
            offset,
            settlement,
            record,
            None if letter is None else (LetterId(self._log.partition, offset), letter),
            is_open=dead_letter,
        )

    async def pass_over(self, offset: int) -> None:
        """Settle a record of the main topic that is no event, durably and without counting it."""
        await self._write(lambda state: state.pass_over(offset), offset)

    async def readmit(self, offset: int, entry: Readmitted) -> None:
        """Begin to handle a dead letter, durably. The change is staged before this waits for anything."""
        await self._write(lambda state: state.readmit(offset, entry), offset)

    async def erased(self, consumers: Mapping[str, int]) -> None:
        """The dead letters of these consumers before an offset are closed, durably."""

        def change(state: PartitionState) -> None:
            for consumer, offset in consumers.items():
                state.erased(consumer, offset)

        await self._write(change, -1)

    async def distrust(self, consumer: str) -> None:
        """The list of a consumer's rows is not to be believed any more, durably."""
        await self._note(consumer, lambda state: replace(state, rows=""))

    async def mended(self, consumer: str, at_ms: int) -> None:
        """A repair found or made a consumer's rows right, durably."""
        await self._note(consumer, lambda state: replace(state, mended_ms=at_ms))

    async def _note(self, consumer: str, note: ConsumerNote) -> None:
        await self._write(lambda state: None, -1, noted=(consumer, note))

    async def note_letters_read(self, upto: int, foreign: Mapping[LetterId, DeadLetter]) -> None:
        """The dead-letter topic was read up to an offset, and holds these records of other programs; durably."""
        if foreign:
            await self._until_lease()
            await self.letters.write(foreign)
        await self._write(lambda state: state.note_letters_read(upto), -1)

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
        letter: tuple[LetterId, DeadLetter] | None = None,
        *,
        is_open: bool = False,
        noted: tuple[str, ConsumerNote] | None = None,
    ) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._staged.append(_Staged(change, done, offset, settlement, record, letter, is_open, noted))
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
        if any(one.settlement or one.letter or one.noted for one in batch):
            await self._until_lease()
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
        settled = [one for one in batch if one.settlement is not None]
        noted = [one.noted for one in batch if one.noted is not None]
        consumers = await self.consumers.settle(
            ((one.offset, one.settlement) for one in settled if one.settlement), noted
        )
        _ask_for_erasing(state, settled, consumers)
        if letters := dict(one.letter for one in batch if one.letter is not None):
            await self.letters.write(letters)
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


def _ask_for_erasing(state: PartitionState, settled: Iterable[_Staged], consumers: Mapping[str, ConsumerState]) -> None:
    """Note whose older dead letters must be closed: the profile was deleted just now, or had been deleted already when
    an older event became a dead letter."""
    for one in settled:
        consumer = None if one.settlement is None else one.settlement.consumer_id
        if consumer is None or consumer not in consumers:
            continue
        erased = consumers[consumer].erased
        if one.offset == erased or (one.is_open and one.offset < erased):
            state.erase(consumer, erased)
