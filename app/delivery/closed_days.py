"""Closed days of the counts leave the partition's record for documents of their own, one for each month. Pure.

The record is rewritten with every group commit, so it holds the counts of today and yesterday only. What a day came to
is the sum of what the record and the month's document say of it: a late event of a closed day counts in the record
until the next move takes it along. Invariants:

* A document is never changed, only replaced by one under another key; the record names the one that counts. So the move
  happens in the one write of the record that names the new document and drops the days, whatever crash or late write of
  an earlier owner comes before or after it.
* A document that no record names means nothing and may be removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import orjson

from app.delivery.counts import Counts, added, read_counts
from app.delivery.partition_record import FORMAT, UNLIKE_A_RECORD, PartitionState, StateError
from app.delivery.state_fields import key_number
from app.delivery.state_fields import month as read_month

# Key of a document: partition, epoch of its writer, month, and a number that the writer uses once.
DocumentKey = tuple[int, int, str, int]


@dataclass(frozen=True, slots=True)
class Move:
    """Write ``documents``, then the record after ``apply``; then ``outdated`` documents may go."""

    documents: dict[bytes, bytes]
    outdated: tuple[bytes, ...]
    archive: dict[str, tuple[int, int]]
    days: frozenset[str]

    def apply(self, state: PartitionState) -> None:
        """Change the record."""
        state.archive = self.archive
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
    """What is to be moved or dropped now; None: nothing.

    Args:
        number: not used before by this owner.
        read: a document by its key. A month whose document cannot be read is left alone: nothing more gets lost.
        today: UTC. Today and yesterday stay in the record; of all others the last ``keep_days`` days are kept.
    """
    open_days = {(today - timedelta(days=age)).isoformat() for age in (0, 1)}
    first_kept = (today - min(timedelta(days=keep_days - 1), today - date.min)).isoformat()
    closed = {day for day in state.counts if day not in open_days or day < first_kept}
    expiring = {month for month in state.archive if f"{month}-01" < first_kept}
    documents: dict[bytes, bytes] = {}
    outdated: list[bytes] = []
    moved: set[str] = set()
    archive = dict(state.archive)
    for month in sorted({day[:7] for day in closed} | expiring):
        days = {day for day in closed if day[:7] == month}
        before: Counts = {}
        old_key = None
        if (named := archive.get(month)) is not None:
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
            archive[month] = (epoch, number)
            documents[document_key(partition, epoch, month, number)] = encode_document(kept)
        else:
            archive.pop(month, None)
    if not moved and not outdated:
        return None
    return Move(documents, tuple(outdated), archive, frozenset(moved))


def document_keys(partition: int, state: PartitionState) -> set[bytes]:
    """The documents that a record names."""
    return {document_key(partition, epoch, month, number) for month, (epoch, number) in state.archive.items()}


def document_key(partition: int, epoch: int, month: str, number: int) -> bytes:
    """Key of a document in the state topic."""
    return f"{partition}|{epoch}|{month}|{number}".encode()


def parse_document_key(key: bytes) -> DocumentKey | None:
    """The parts of a document's key; None: it is the key of something else."""
    try:
        partition, epoch, month, number = key.decode().split("|")
        return key_number(partition), key_number(epoch), read_month(month), key_number(number)
    except ValueError:
        return None


def encode_document(counts: Counts) -> bytes:
    """JSON, as the counts stand in the record."""
    return orjson.dumps({"v": FORMAT, "counts": counts})


def decode_document(value: bytes | None) -> Counts:
    """Read what ``encode_document`` wrote.

    Raises:
        StateError: there is no document, or none of this format.
    """
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise StateError(f"not a document of counts: {error}") from None
    if not isinstance(document, dict) or document.get("v") != FORMAT or not isinstance(document.get("counts"), dict):
        raise StateError(f"not a document of counts of format {FORMAT}; was it written by a newer program?")
    try:
        return read_counts(document["counts"])
    except UNLIKE_A_RECORD as error:
        raise StateError(f"not a document of counts: {error}") from None
