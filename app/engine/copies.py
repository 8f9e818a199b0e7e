"""The parked events of a partition that are in memory, as read back from the retry topic.

A copy in the retry topic counts only while the partition record lists its event as parked, or while the event is being
forwarded. The order of events is that of their main offsets, wherever a copy comes from. When the retry topic loses its
log, copies in memory stay and run, without an offset there (``NOWHERE``). Parked events that are not in memory are then
read from the main topic again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from app.delivery.headers import source_of
from app.delivery.record import SourceRecord
from app.engine.context import EngineContext, now_ms
from app.engine.journal import Journal
from app.engine.parked import ParkedConsumers
from app.engine.wanted import Wanted

log = structlog.get_logger(__name__)

# The offset of a copy that was read from the retry topic and is no longer there. The ledger has nothing open at it.
NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Copy:
    """A parked event as read back.

    ``retry_offset``: where it stands in the retry topic, or ``NOWHERE``; None: it was read again from the main topic.
    ``lost``: it is in neither topic, and the source has no value.
    """

    source: SourceRecord
    retry_offset: int | None
    lost: bool = False


class Copies:
    """The copies of one partition by main offset; also the bytes of dead letters that are run again.

    ``forwarding``: the events whose copies are being written: main offset -> consumer. ``wanted``: the parked events
    that are to be read again from the main topic.
    """

    def __init__(self, number: int, context: EngineContext, journal: Journal, parked: ParkedConsumers) -> None:
        self.forwarding: dict[int, str] = {}
        self.wanted = Wanted()
        self._number = number
        self._main_topic = context.pipeline.topic
        self._retry = (context.pipeline.retry_topic, number)
        self._ledger = context.ledger
        self._journal = journal
        self._parked = parked
        self._copies: dict[int, Copy] = {}

    def __len__(self) -> int:
        return len(self._copies)

    def __contains__(self, offset: int) -> bool:
        return offset in self._copies

    def get(self, offset: int) -> Copy | None:
        """The copy of a parked event; None: it was not read back yet."""
        return self._copies.get(offset)

    def retry_offsets(self) -> set[int]:
        """Offsets of the retry topic whose events wait here."""
        return {copy.retry_offset for copy in self._copies.values() if copy.retry_offset is not None}

    def missing(self) -> set[int]:
        """Main offsets of parked events that were not read back."""
        return self._journal.state.parked.keys() - self._copies.keys()

    @property
    def mark(self) -> str | None:
        """What the partition's copies in the retry topic carry."""
        return self._journal.state.mark

    def take(self, copy: SourceRecord, *, gone: bool = False) -> bool:
        """A record of the retry topic arrived. Returns False if it does not count: it is a second copy, or its event is
        not parked.

        Args:
            gone: the topic has lost its log since the record was fetched.

        Raises:
            NotOurCopy: it is the copy of another event, or none.
        """
        source = source_of(copy, self._main_topic, self.mark)
        return self.read_back(source, NOWHERE if gone else copy.offset)

    def read_back(self, source: SourceRecord, retry_offset: int | None) -> bool:
        """A parked event was read back. Returns as ``take`` does.

        Args:
            retry_offset: where its copy stands; None: it was read again from the main topic.
        """
        offset = source.offset
        entry = self._journal.state.parked.get(offset)
        consumer = entry.consumer if entry else self.forwarding.get(offset)
        if consumer is None or offset in self._copies:
            return False
        self._copies[offset] = Copy(source, retry_offset)
        self._parked.wake(consumer)
        return True

    def put(self, offset: int, consumer: str, source: SourceRecord | None) -> None:
        """The bytes of a dead letter that is run again; None: they are gone."""
        lost = source is None
        source = source or SourceRecord(self._main_topic, self._number, offset, now_ms(), consumer.encode(), None)
        self._copies[offset] = Copy(source, None, lost=lost)
        self._parked.wake(consumer)

    def discard(self, offset: int) -> None:
        """Drop the copy of an event that has its outcome, if there is one, without closing anything."""
        self._copies.pop(offset, None)

    def close(self, offset: int) -> Copy:
        """Drop a copy that is done with, and close its offset in the retry topic."""
        copy = self._copies.pop(offset)
        if copy.retry_offset is not None:
            self._ledger.close(self._retry, copy.retry_offset)
        return copy

    def put_back(self, offset: int) -> None:
        """Drop a copy that is another consumer's event: it is not what was parked, whatever its headers say."""
        copy = self.close(offset)
        log.error(
            "a copy of a parked event is another consumer's event; it is not run",
            partition=self._number,
            offset=offset,
            retry_offset=copy.retry_offset,
        )
        if copy.retry_offset is None:
            self.lose(offset)

    def lose(self, offset: int) -> None:
        """The record of a parked event is gone from both topics: it fails when its turn comes."""
        self.wanted.discard(offset)
        entry = self._journal.state.parked.get(offset)
        if entry is None or offset in self._copies:
            return
        key = entry.consumer.encode(errors="replace")
        source = SourceRecord(self._main_topic, self._number, offset, now_ms(), key, None)
        self._copies[offset] = Copy(source, None, lost=True)
        self._parked.wake(entry.consumer)

    def all_gone(self) -> set[int]:
        """The retry topic lost its log. Returns the parked events that are not in memory."""
        for offset, copy in self._copies.items():
            if copy.retry_offset is not None:
                self._copies[offset] = replace(copy, retry_offset=NOWHERE)
        return (self._journal.state.parked.keys() | self.forwarding.keys()) - self._copies.keys()
