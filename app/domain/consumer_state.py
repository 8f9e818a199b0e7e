"""What is durably known of one consumer on one partition: its last events, and what later ones may not undo. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

import orjson

from app.domain import row_list
from app.domain import state_fields as fields
from app.domain.counts import RowKey, Settlement
from app.domain.keys import folded_key
from app.domain.outcome import Outcome
from app.domain.state import FORMAT, UNLIKE_A_RECORD, StateError, state_document, unreadable
from app.domain.state_fields import key_number, number, text
from app.domain.value_class import value_class

RECENT_KEPT = 5
# Of the rows that were deleted one by one since a consumer's last full state, the newest so many are remembered, with
# keys of so many characters at most: the record must fit into its topic.
DELETED_KEPT = 200
DELETED_CHARACTERS = 40_000


@value_class(frozen=True, slots=False)  # orjson writes objects with slots at a fifth of the speed
class RecentEvent:
    """One line of a consumer's history."""

    event_id: str
    operation: str
    outcome: str
    reason: str | None
    attempts: int
    settled_ms: int


@value_class(frozen=True, slots=False)
class FullState:
    """The last event that said everything about the consumer and reached Marketing Cloud.

    ``market``: empty in records of older programs.
    """

    offset: int
    operation: str
    event_id: str
    market: str = ""


@dataclass(frozen=True, slots=True)
class DeletedRow:
    """A row that a settled DELETE of single rows removed.

    ``place``: where, as a fingerprint (row_list.py), since markets may have data extensions of their own; empty in
    records of older programs: may be anywhere.
    """

    offset: int
    entity: str
    key: tuple[str, ...]
    place: str = ""


@value_class(frozen=True, slots=True)
class ConsumerState:
    """What is known of one consumer on one partition. No personal data: identifiers, outcomes and digests only.

    ``deleted`` holds rows deleted after ``full``; of those forgotten, the last was deleted at ``deleted_forgotten``.
    ``rows`` lists the rows that should be held (row_list.py); empty: not known.
    """

    offset: int
    market: str
    recent: tuple[RecentEvent, ...] = ()
    synced_ms: int | None = None
    full: FullState | None = None
    deleted: tuple[DeletedRow, ...] = ()
    deleted_forgotten: int = -1
    rows: str = ""

    def encode(self) -> bytes:
        """JSON; orjson writes the dataclasses inside as objects."""
        document = {
            "v": FORMAT,
            "offset": self.offset,
            "market": self.market,
            "recent": self.recent,
            "synced_ms": self.synced_ms,
            "full": self.full,
            "deleted": self.deleted,
            "deleted_forgotten": self.deleted_forgotten,
        }
        return orjson.dumps({**document, "rows": self.rows} if self.rows else document)

    @classmethod
    def decode(cls, value: bytes) -> ConsumerState:
        """Read what ``encode`` wrote.

        Raises:
            StateError: not a consumer record, or one of a newer program.
        """
        document = state_document(value, "consumer")
        try:
            return cls._of(document)
        except UNLIKE_A_RECORD as error:
            raise unreadable("consumer", error) from None

    @classmethod
    def _of(cls, document: dict[str, Any]) -> ConsumerState:
        deleted = document.get("deleted")
        return cls(
            offset=number(document["offset"]),
            market=text(document["market"]),
            recent=tuple(fields.entries(document["recent"], _recent)),
            synced_ms=fields.optional(document["synced_ms"], fields.moment),
            full=_full(full) if (full := document["full"]) else None,
            deleted=tuple(fields.entries(deleted, _deleted_row)) if deleted else (),
            deleted_forgotten=number(document.get("deleted_forgotten", -1), -1),
            rows=text(document.get("rows", "")),
        )


def _recent(document: Any) -> RecentEvent:
    event = RecentEvent(**document)
    text(event.event_id), text(event.operation), text(event.outcome), fields.moment(event.settled_ms)
    if event.reason is not None:
        text(event.reason)
    number(event.attempts)
    return event


def _full(document: Any) -> FullState:
    full = FullState(**document)
    number(full.offset), text(full.operation), text(full.event_id), text(full.market)
    return full


def _deleted_row(document: Any) -> DeletedRow:
    key = tuple(fields.entries(document["key"], text))
    return DeletedRow(number(document["offset"]), text(document["entity"]), key, text(document.get("place", "")))


def after_settling(before: ConsumerState | None, offset: int, settlement: Settlement, settled_ms: int) -> ConsumerState:
    """The consumer's record once one more of its events is settled; doing it twice changes nothing more."""
    event = RecentEvent(
        settlement.event_id,
        settlement.operation,
        settlement.outcome.value,
        settlement.reason,
        settlement.attempts,
        settled_ms,
    )
    state = before or ConsumerState(offset, settlement.market)
    older = [recent for recent in state.recent if recent.event_id != settlement.event_id]
    reached = settlement.outcome in (Outcome.SYNCED, Outcome.PARTIAL)
    # A null value deletes where rows were written last, not where an event failed or was invalid.
    moved = reached and settlement.market != "-"
    full, rows = state.full, state.rows
    current = full is None or offset >= full.offset
    if reached and settlement.full_state and current:
        full = FullState(offset, settlement.operation, settlement.event_id, settlement.market)
    if reached and current:
        rows = row_list.after(rows, settlement)
    elif settlement.outcome is Outcome.FAILED and current:
        rows = ""  # it may have written a part
    place = row_list.place_of(settlement.rows)
    gone = [(*row, place) for row in settlement.deleted] if reached else []
    deleted, forgotten = _deleted(state, offset, gone, full)
    return ConsumerState(
        offset=max(offset, state.offset),
        market=settlement.market if moved or state.market == "-" else state.market,
        recent=(event, *older)[:RECENT_KEPT],
        synced_ms=settled_ms if reached else state.synced_ms,
        full=full,
        deleted=deleted,
        deleted_forgotten=forgotten,
        rows=rows,
    )


def _deleted(
    state: ConsumerState, offset: int, rows: Iterable[tuple[str, tuple[str, ...], str]], full: FullState | None
) -> tuple[tuple[DeletedRow, ...], int]:
    """The rows deleted after the full state, the newest ``DELETED_KEPT`` of them, and the last forgotten one."""
    since = -1 if full is None else full.offset
    if not rows and not state.deleted:
        return (), state.deleted_forgotten if state.deleted_forgotten > since else -1
    # Spellings of one key are one row; the newest stands.
    newest = {(row.entity, folded_key(row.key), row.place): row for row in state.deleted}
    for entity, key, place in rows:
        row = (entity, folded_key(key), place)
        if row not in newest or newest[row].offset <= offset:
            newest[row] = DeletedRow(offset, entity, key, place)
    known = sorted((row for row in newest.values() if row.offset > since), key=lambda row: -row.offset)
    sizes = accumulate(sum(map(len, row.key)) for row in known)
    kept = sum(size <= DELETED_CHARACTERS for size in islice(sizes, DELETED_KEPT))
    forgotten = max((state.deleted_forgotten, *(row.offset for row in known[kept:])))
    return tuple(reversed(known[:kept])), forgotten if forgotten > since else -1


def deleted_since(state: ConsumerState, offset: int, place: str) -> frozenset[RowKey]:
    """The rows of a place that were deleted one by one after an offset, as ``keys.identity`` names rows."""
    return frozenset(
        (row.entity, folded_key(row.key)) for row in state.deleted if row.offset > offset and row.place in ("", place)
    )


def consumer_key(partition: int, epoch: int, consumer_id: str) -> bytes:
    """Key of a consumer record."""
    return f"{partition}|{epoch}|{consumer_id}".encode()


def parse_consumer_key(key: bytes) -> tuple[int, int, str]:
    """(partition, epoch, consumer ID) of a consumer record's key.

    Raises:
        StateError: not such a key.
    """
    try:
        partition, epoch, consumer_id = key.decode().split("|", 2)
        return key_number(partition), key_number(epoch), consumer_id
    except ValueError:
        raise StateError("not the key of a consumer record") from None
