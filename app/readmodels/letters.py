"""The dead letters of all partitions, for people: pages, counts, groups.

A dead letter that is *redriving* is open in its record and readmitted in the partition record, so the answers join the
two. At most a few hundred are readmitted on a partition.
"""

# ruff: noqa: S608 - every text of a query is ours, and every value is bound

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.delivery.dead_letter_record import DeadLetter, Holder, LetterStatus
from app.delivery.letter_id import LetterId, read_letter_id
from app.delivery.operator_task import LetterFilter, Selection
from app.delivery.partition_record import PartitionState
from app.readmodels.letter_filter import EVERY, Condition, condition
from app.readmodels.letter_groups import LetterGroups
from app.readmodels.letter_names import check_names
from app.readmodels.letter_page import ORDER, Place, ShownStatus, decode_cursor, encode_cursor
from app.readmodels.letter_queries import id_at
from app.readmodels.letter_table import HOLDER_NUMBERS, STATUS_NUMBERS, place_of
from app.readmodels.owner_letters import OwnerLetters
from app.readmodels.progress import Progress
from app.readmodels.store import Store

MOST_LISTED = 1_000
PAGE = 50

ANY_STATUS: frozenset[ShownStatus] = frozenset(ShownStatus)
OPEN_ONES = frozenset({ShownStatus.OPEN, ShownStatus.REDRIVING})

_OPEN = STATUS_NUMBERS[LetterStatus.OPEN]
_CLOSED = {
    ShownStatus.SETTLED: STATUS_NUMBERS[LetterStatus.SETTLED],
    ShownStatus.DISCARDED: STATUS_NUMBERS[LetterStatus.DISCARDED],
}
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class ListedLetter:
    """A dead letter as people see it."""

    id: LetterId
    status: ShownStatus
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class LetterPage:
    """``next``: the cursor of the next page; None: this is the last one."""

    items: tuple[ListedLetter, ...]
    next: str | None = None


class LetterIndex(OwnerLetters, LetterGroups):
    """Every method raises ``ReadModelUnavailable`` while the file is being replaced.

    Args:
        partitions: the partition records, for what is readmitted.
    """

    def __init__(
        self,
        topic: str,
        progress: Progress,
        ask: Callable[[Callable[[Store], Any]], Any],
        partitions: Callable[[], Mapping[int, PartitionState]],
    ) -> None:
        super().__init__(topic, progress, ask)
        self._partitions = partitions

    # Single ones
    def get(self, letter_id: LetterId) -> ListedLetter | None:
        """One dead letter."""
        found = self._rows(
            "SELECT value FROM letters JOIN letter_values USING (row)"
            " WHERE partition = ? AND is_foreign = ? AND place = ?",
            place_of(letter_id),
        )
        return _listed(letter_id, found[0][0], self._readmitted()) if found else None

    def find(self, text: str, limit: int = PAGE) -> list[ListedLetter]:
        """The dead letters that a text names: ``5-26``, ``dlq-5-26`` or an event ID. Newest failure first."""
        letter_id = read_letter_id(text)
        named = self.get(letter_id) if letter_id is not None else None
        return [named] if named is not None else self._listed(Condition("event = ?", (text,)), limit, "letters_event")

    def of_consumer(self, consumer_id: str, limit: int = PAGE) -> list[ListedLetter]:
        """The dead letters of a consumer, newest failure first."""
        return self._listed(Condition("consumer = ?", (consumer_id,)), limit, "letters_consumer")

    # Many
    def check(self, chosen: LetterFilter) -> None:
        """Check that the names in a filter can exist; see ``check_names``.

        Raises:
            SelectionError: one cannot.
        """
        check_names(chosen, lambda one: self.count(one, ANY_STATUS) > 0)

    def page(
        self,
        chosen: LetterFilter = EVERY,
        statuses: Collection[ShownStatus] = ANY_STATUS,
        *,
        limit: int = PAGE,
        cursor: str | None = None,
    ) -> LetterPage:
        """Dead letters, newest failure first. A page that begins at a cursor repeats none of the pages before.

        Raises:
            CursorError: ``cursor`` is not one that a page with this filter gave.
            ReadModelUnavailable: the file is being replaced.
        """
        after = decode_cursor(cursor, chosen, statuses) if cursor is not None else None
        readmitted = self._readmitted()
        items: list[ListedLetter] = []
        last: Place | None = None
        for place, row in self._places(chosen, statuses, readmitted, after, limit):
            value = self._rows("SELECT value FROM letter_values WHERE row = ?", (row,))
            if not value:
                continue
            if len(items) == limit:
                assert last is not None
                return LetterPage(tuple(items), encode_cursor(last, chosen, statuses))
            items.append(_listed(id_at(place), value[0][0], readmitted))
            last = place
        return LetterPage(tuple(items))

    def count(self, chosen: LetterFilter = EVERY, statuses: Collection[ShownStatus] = OPEN_ONES) -> int:
        """How many dead letters there are."""
        closed = ", ".join(str(number) for status, number in _CLOSED.items() if status in statuses)
        number = sum(self._counted(chosen, f"status IN ({closed})", "1").values()) if closed else 0
        if ShownStatus.OPEN in statuses:
            number += sum(self._counted(chosen, f"status = {_OPEN}", "1").values())
        if len(OPEN_ONES.intersection(statuses)) == 1:
            redriving = len(self._redriving(chosen, self._readmitted(), None))
            number += redriving if ShownStatus.REDRIVING in statuses else -redriving
        return number

    def count_by_partition(self, selection: Selection) -> dict[int, int]:
        """How many open dead letters a selection means, by partition; partitions without one are left out."""
        if not selection.ids:
            return self._counted(selection.filter, f"status = {_OPEN}", "partition")
        found: Counter[int] = Counter()
        for letter_id in set(selection.ids):
            found[letter_id.partition] += len(
                self._rows(
                    f"SELECT 1 FROM letters WHERE partition = ? AND is_foreign = ? AND place = ? AND status = {_OPEN}",
                    place_of(letter_id),
                )
            )
        return {partition: number for partition, number in sorted(found.items()) if number}

    def consumers_with_open(
        self, chosen: LetterFilter = EVERY, limit: int = MOST_LISTED, after: str = ""
    ) -> list[tuple[str, int]]:
        """(consumer, number of its open dead letters), by consumer ID; ``after``: the last one of the page before."""
        wanted = condition(chosen)
        return [
            (consumer, number)
            for consumer, number in self._rows(
                f"SELECT consumer, count(*) FROM letters INDEXED BY letters_consumer WHERE status = {_OPEN}"
                f" AND consumer > ? AND {wanted.sql} GROUP BY consumer ORDER BY consumer LIMIT ?",
                (after, *wanted.values, limit),
            )
        ]

    def open_by_partition(self) -> dict[int, int]:
        """How many open dead letters each partition has; partitions without one are left out."""
        return self._counted(EVERY, f"status = {_OPEN}", "partition")

    def oldest_open(self, limit: int = 1) -> list[ListedLetter]:
        """Open dead letters, oldest last failure first."""
        readmitted = self._readmitted()
        rows = self._rows(
            "SELECT partition, is_foreign, place, value FROM letters INDEXED BY letters_page"
            f" JOIN letter_values USING (row) WHERE status = {_OPEN} ORDER BY last_failed LIMIT ?",
            (limit,),
        )
        return [_listed(LetterId(p, place, bool(f)), value, readmitted) for p, f, place, value in rows]

    def kept_before(self, holder: Holder, before_ms: int) -> tuple[int, int | None]:
        """How many open dead letters have bytes in a topic whose record may be older than a time, and the time of the
        oldest one (see ``kept_since``)."""
        [(letters, oldest_ms)] = self._rows(
            "SELECT count(*), min(kept_since) FROM letters INDEXED BY letters_kept"
            f" WHERE status = {_OPEN} AND holder = ? AND kept_since < ?",
            (HOLDER_NUMBERS[holder], before_ms),
        )
        return letters, oldest_ms

    # How it is done
    def _readmitted(self) -> frozenset[LetterId]:
        return frozenset(
            LetterId(partition, offset)
            for partition, state in self._partitions().items()
            for offset in state.readmitted
        )

    def _listed(self, wanted: Condition, limit: int, index: str) -> list[ListedLetter]:
        rows = self._rows(
            f"SELECT partition, is_foreign, place, value FROM letters INDEXED BY {index}"
            f" JOIN letter_values USING (row) WHERE {wanted.sql} ORDER BY last_failed DESC LIMIT ?",
            (*wanted.values, limit),
        )
        readmitted = self._readmitted()
        return [_listed(LetterId(p, place, bool(f)), value, readmitted) for p, f, place, value in rows]

    def _places(
        self,
        chosen: LetterFilter,
        statuses: Collection[ShownStatus],
        readmitted: Collection[LetterId],
        after: Place | None,
        limit: int,
    ) -> Iterator[tuple[Place, int]]:
        """(place, row) of what a page may show, in its order."""
        wanted = condition(chosen)
        one_consumer = bool(chosen.consumer)
        parts = [self._scan(wanted, _CLOSED[one], one_consumer, after, limit) for one in _CLOSED if one in statuses]
        if ShownStatus.OPEN in statuses:
            found = self._scan(wanted, _OPEN, one_consumer, after, limit)
            hidden = readmitted if ShownStatus.REDRIVING not in statuses else ()
            parts.append(one for one in found if not hidden or id_at(one[0]) not in hidden)
        elif ShownStatus.REDRIVING in statuses:
            parts.append(iter(self._redriving(chosen, readmitted, after)))
        return heapq.merge(*parts, reverse=True)

    def _scan(
        self, wanted: Condition, status: int, one_consumer: bool, after: Place | None, limit: int
    ) -> Iterator[tuple[Place, int]]:
        """Every match of one stored status, read in portions."""
        index = "letters_consumer" if one_consumer else "letters_page"
        order = ", ".join(f"{name} DESC" for name in ORDER)
        portion = max(limit + 1, _CHUNK)
        while True:
            here = wanted.also("status = ?", status)
            if after is not None:
                here = here.also(f"({', '.join(ORDER)}) < (?, ?, ?, ?)", *after)
            rows = self._rows(
                f"SELECT {', '.join(ORDER)}, row FROM letters INDEXED BY {index}"
                f" WHERE {here.sql} ORDER BY {order} LIMIT ?",
                (*here.values, portion),
            )
            for *place, row in rows:
                after = (place[0], place[1], place[2], place[3])
                yield after, row
            if len(rows) < portion:
                return

    def _redriving(
        self, chosen: LetterFilter, readmitted: Collection[LetterId], after: Place | None
    ) -> list[tuple[Place, int]]:
        """Readmitted dead letters that a filter means, newest failure first."""
        wanted = condition(chosen)
        found: list[tuple[Place, int]] = []
        for letter_id in readmitted:
            for *place, row in self._rows(
                f"SELECT {', '.join(ORDER)}, row FROM letters"
                f" WHERE partition = ? AND is_foreign = ? AND place = ? AND status = {_OPEN} AND {wanted.sql}",
                (*place_of(letter_id), *wanted.values),
            ):
                found.append(((place[0], place[1], place[2], place[3]), row))
        return sorted((one for one in found if after is None or one[0] < after), reverse=True)


def _listed(letter_id: LetterId, value: bytes, readmitted: Collection[LetterId]) -> ListedLetter:
    letter = DeadLetter.decode(value)
    status = ShownStatus(letter.status.value)
    if status is ShownStatus.OPEN and letter_id in readmitted:
        status = ShownStatus.REDRIVING
    return ListedLetter(letter_id, status, letter)
