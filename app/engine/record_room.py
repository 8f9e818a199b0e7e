"""How many bytes of a partition record its parked and given-up events may take. No I/O.

The record is rewritten with every group commit and must fit into one Kafka record. So each event counts from the start
with the most bytes that it may come to take.
"""

from __future__ import annotations

from app.delivery.failed_attempt import ATTEMPT_BYTES, ATTEMPTS_KEPT
from app.delivery.parked_events import OFFSET_BYTES, ParkedEvent, consumer_bytes, dated_bytes
from app.delivery.readmitted import Readmitted, readmitted_bytes
from app.delivery.verdict import Verdict, verdict_bytes

# What given-up events may take while the dead-letter topic takes no writes: a quarter of the largest record. The next
# event is given up when the dead letter of an earlier one is written.
GIVEN_UP_BYTES = 4 * 1024 * 1024
# What dead letters that are handled may take. It is many times what 200 of them usually need, but producers and people
# choose how long IDs and names are. The next one begins when an earlier one has ended.
READMITTED_BYTES = 2 * 1024 * 1024
# The attempts of a redrive, and the reason of the last one. They come later.
_ATTEMPTS_BYTES = 200 + ATTEMPTS_KEPT * ATTEMPT_BYTES


class RecordRoom:
    """``bytes``: the most that the parked and given-up events of now may take in the record."""

    def __init__(self) -> None:
        self.bytes = 0
        self._dated: dict[int, int] = {}  # parked events that keep their day -> bytes of each
        self._given_up: dict[int, int] = {}  # events that were given up -> bytes of each
        self._given_up_bytes = 0
        self._readmitted: dict[int, int] = {}  # dead letters that are handled -> bytes of each
        self._readmitted_bytes = 0

    def park(self, offset: int, entry: ParkedEvent, *, first: bool) -> None:
        """An event is parked; ``first``: its consumer had none that was."""
        if first:
            self.bytes += consumer_bytes(entry.consumer)
        if entry.day:
            self._dated[offset] = dated_bytes(entry.consumer)
        self.bytes += self._dated.get(offset, OFFSET_BYTES)

    def unpark(self, offset: int, consumer: str, *, last: bool) -> None:
        """An event is parked no longer; ``last``: its consumer has no other that is."""
        self.bytes -= self._dated.pop(offset, OFFSET_BYTES)
        if last:
            self.bytes -= consumer_bytes(consumer)

    def fits(self, verdict: Verdict) -> bool:
        """Whether one more event may be given up now. The first one always may."""
        return not self._given_up or self._given_up_bytes + verdict_bytes(verdict) <= GIVEN_UP_BYTES

    def give_up(self, offset: int, verdict: Verdict) -> None:
        """An event was given up."""
        size = self._given_up[offset] = verdict_bytes(verdict)
        self._given_up_bytes += size
        self.bytes += size

    def fits_too(self, offset: int, entry: Readmitted) -> bool:
        """Whether one more dead letter may be handled now. The first one always may."""
        return not self._readmitted or self._readmitted_bytes + _handled_bytes(offset, entry) <= READMITTED_BYTES

    def readmit(self, offset: int, entry: Readmitted) -> None:
        """A dead letter begins to be handled."""
        size = _handled_bytes(offset, entry)
        more = size - self._readmitted.get(offset, 0)
        self.bytes += more
        self._readmitted_bytes += more
        self._readmitted[offset] = size

    def settle(self, offset: int) -> None:
        """An event is settled; most were never given up, nor readmitted."""
        size = self._given_up.pop(offset, 0)
        self._given_up_bytes -= size
        handled = self._readmitted.pop(offset, 0)
        self._readmitted_bytes -= handled
        self.bytes -= size + handled


def _handled_bytes(offset: int, entry: Readmitted) -> int:
    return readmitted_bytes(offset, entry) + _ATTEMPTS_BYTES
