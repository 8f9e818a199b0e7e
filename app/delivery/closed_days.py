"""Closed days of the counts move from the partition record into documents, one document per month. Pure.

The partition record is rewritten with every group commit, so it holds the counts of today and yesterday only. A day's
total is the sum of what the record and its month's document say: a late event of a closed day counts in the record
until the next move. Invariants:

* A document is never changed, only replaced by one under another key. The record names the document that counts. So the
  move happens in one write: the write of the record that names the new document and drops the days. A crash, or a late
  write of an earlier owner, cannot break it, whenever it comes.
* A document that no record names does not count and may be removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import orjson

from app.delivery.counts import Counts, added, read_counts
from app.delivery.partition_record import PartitionState
from app.delivery.record_format import FORMAT, MALFORMED, StateError
from app.delivery.state_fields import key_number
from app.delivery.state_fields import month as read_month

# The key of a document: partition, epoch of its writer, month, and a number that this writer uses only once.
DocumentKey = tuple[int, int, str, int]


@dataclass(frozen=True, slots=True)
class Move:
    """Write ``documents``, then the record as ``apply`` changes it; after that, ``outdated`` can be removed."""

    documents: dict[bytes, bytes]
    outdated: tuple[bytes, ...]
    closed_months: dict[str, tuple[int, int]]
    days: frozenset[str]

    def apply(self, state: PartitionState) -> None:
        """Change the record."""
        state.closed_months = self.closed_months
        for day in self.days:
            state.counts.pop(day, None)


def plan_move(
    state: PartitionState,
    *,
    partition: int,
    epoch: int,
    number: int,
    read: Callable[[bytes], bytes | None],
    today: date,
    keep_days: int,
) -> Move | None:
    """The days to move into documents now, and the days to drop; None: there are none.

    Args:
        number: one that this owner has not used before.
        read: returns the document of a key. A month whose document cannot be read is left alone, so that nothing more
            is lost.
        today: the UTC day. Today and yesterday stay in the record. Days older than ``keep_days`` are dropped.
    """
    open_days = {(today - timedelta(days=age)).isoformat() for age in (0, 1)}
    first_kept = first_kept_day(today, keep_days)
    closed = {day for day in state.counts if day not in open_days or day < first_kept}
    expiring = {month for month in state.closed_months if f"{month}-01" < first_kept}
    documents: dict[bytes, bytes] = {}
    outdated: list[bytes] = []
    moved: set[str] = set()
    closed_months = dict(state.closed_months)
    for month in sorted({day[:7] for day in closed} | expiring):
        days = {day for day in closed if day[:7] == month}
        before: Counts = {}
        old_key = None
        if (named := closed_months.get(month)) is not None:
            old_key = document_key(partition, named[0], month, named[1])
            try:
                before = decode_document(read(old_key))
            except StateError:
                continue
        kept = added(before, {day: state.counts[day] for day in days})
        kept = {day: counts for day, counts in kept.items() if day >= first_kept}
        if not days and len(kept) == len(before):
            continue
        moved |= days
        if old_key is not None:
            outdated.append(old_key)
        if kept:
            closed_months[month] = (epoch, number)
            documents[document_key(partition, epoch, month, number)] = encode_document(kept)
        else:
            closed_months.pop(month, None)
    if not moved and not outdated:
        return None
    return Move(documents, tuple(outdated), closed_months, frozenset(moved))


def first_kept_day(today: date, keep_days: int) -> str:
    """The first day (ISO 8601) whose counts are kept.

    >>> first_kept_day(date(2026, 3, 1), 1), first_kept_day(date(2026, 3, 1), 2)
    ('2026-03-01', '2026-02-28')
    """
    return (today - min(timedelta(days=keep_days - 1), today - date.min)).isoformat()


def document_keys(partition: int, state: PartitionState) -> set[bytes]:
    """Keys of the documents that a record names."""
    return {document_key(partition, epoch, month, number) for month, (epoch, number) in state.closed_months.items()}


def document_key(partition: int, epoch: int, month: str, number: int) -> bytes:
    """Key of a document in the state topic."""
    return f"{partition}|{epoch}|{month}|{number}".encode()


def parse_document_key(key: bytes) -> DocumentKey | None:
    """The parts of a document's key; None: not the key of a document."""
    try:
        partition, epoch, month, number = key.decode().split("|")
        return key_number(partition), key_number(epoch), read_month(month), key_number(number)
    except ValueError:
        return None


def encode_document(counts: Counts) -> bytes:
    """JSON, with the counts in the same form as in the partition record."""
    return orjson.dumps({"v": FORMAT, "counts": counts})


def decode_document(value: bytes | None) -> Counts:
    """Read what ``encode_document`` wrote.

    Raises:
        StateError: no document, or one of another format.
    """
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise StateError(f"not a document of counts: {error}") from None
    if not isinstance(document, dict) or document.get("v") != FORMAT or not isinstance(document.get("counts"), dict):
        raise StateError(f"not a document of counts of format {FORMAT}; was it written by a newer program?")
    try:
        return read_counts(document["counts"])
    except MALFORMED as error:
        raise StateError(f"not a document of counts: {error}") from None
