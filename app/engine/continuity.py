"""Whether fetched records continue the log that was read before.

* A partition does not have the position that was to come: its log was cut, or a broker says so for a moment. aiokafka
  goes on at the first offset without a word.
* A partition gets another leader: it may hold another log (``settled_digests.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from faust.types import TP

from app.delivery.record_digest import RecordDigest
from app.engine.ownership import Ownership
from app.engine.resets import NOT_KNOWN_YET, from_before


class Continuity:
    """What was read in this generation, and what the consumer's thread has noted about it.

    Args:
        was_reset: partitions whose position was not there, or not known yet -> their new position.
        other_leader: partitions whose next records may come from another leader.
        undo: goes back to the first offset of a fetch that is dropped.

    ``positions``: the next offset to come.
    """

    def __init__(
        self,
        ownership: Ownership,
        was_reset: dict[TP, int],
        other_leader: set[TP],
        undo: Callable[[TP, int], Awaitable[None]],
    ) -> None:
        self._ownership = ownership
        self._other_leader = other_leader
        self._undo = undo
        self._highest: dict[TP, Any] = {}  # the highest record that came from the main topic
        self.was_reset = was_reset
        self.positions: dict[TP, int] = {}

    def forget(self) -> None:
        """A generation ends. Before the next one begins, others may have gone on."""
        self.was_reset.clear()
        self.positions.clear()
        self._highest.clear()

    def check_leader(self, tp: TP, last: Any) -> None:
        """Report it if one of the records about to be handed over may come from another leader.

        Args:
            last: the last of these records.
        """
        before = self._highest.get(tp)
        if before is None or tp in self._other_leader:
            self._other_leader.discard(tp)
            self._ownership.logs.other_leader(tp.partition, None if before is None else _digest(before))
        if before is None or last.offset > before.offset:
            self._highest[tp] = last

    def lost_logs(self, committed: Mapping[TP, int | None]) -> Iterator[tuple[TP, int, int]]:
        """The partitions of the retry and the alerts topic that did not have their position, each with that position
        and the first offset that is there. Told once."""
        for tp, first in list(self.was_reset.items()):
            if self._is_main(tp) or (tp.topic, tp.partition) not in self._ownership.gate:
                continue
            position = max(self.positions.get(tp, -1), committed.get(tp) or -1)
            if first != NOT_KNOWN_YET:
                del self.was_reset[tp]
                if position not in (-1, first):
                    yield tp, position, first

    async def may_go_on(self, tp: TP, first: int, session: object) -> bool:
        """Whether a batch, fetched after a position was not there, holds the records that come next.

        Args:
            first: offset of the batch's first record.
            session: that of ``Ownership`` in which the fetch began.
        """
        position, target = self.positions.get(tp, first), self.was_reset[tp]
        if from_before(first, self.positions.get(tp), target):
            return session is self._ownership.session
        if not self._is_main(tp):
            if target != NOT_KNOWN_YET:
                await self._undo(tp, first)  # the partition begins again with the next fetch
                return False
            return session is self._ownership.session
        self.was_reset.pop(tp, None)
        if first != position:
            highest = self._highest.get(tp)
            last = None if highest is None else _digest(highest)
            if not await self._ownership.logs.was_reset((tp.topic, tp.partition), position, first, last):
                return False
        return session is self._ownership.session

    def main_topic_compared(self) -> None:
        """A take-over has compared the positions of the main topic with the partition records."""
        for tp in [tp for tp in self.was_reset if self._is_main(tp)]:
            del self.was_reset[tp]

    def _is_main(self, tp: TP) -> bool:
        return bool(tp.topic == self._ownership.context.pipeline.topic)


def _digest(record: Any) -> RecordDigest:
    return RecordDigest.of(record.offset, record.key, record.value)
