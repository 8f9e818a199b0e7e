"""How a settled event changes its consumer's record. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate, islice

from app.delivery.consumer_record import ConsumerState, DeletedRow, FullState, RecentEvent
from app.delivery.counts import RowKey, Settlement
from app.delivery.errors import SYNC_ERASED, SYNC_OPERATOR
from app.delivery.outcome import Outcome
from app.profile.holdings import row_list
from app.profile.keys import folded_key

RECENT_KEPT = 5
# A consumer record remembers at most this many of the rows that were deleted one by one since the last full state, the
# newest first, with at most this many characters of keys: the record must fit into its topic.
DELETED_KEPT = 200
DELETED_CHARACTERS = 40_000


def after_settling(before: ConsumerState | None, offset: int, settlement: Settlement, settled_ms: int) -> ConsumerState:
    """The consumer record after one more settled event; settling the same event twice has the same result as once."""
    event = RecentEvent(
        settlement.event_id,
        settlement.operation,
        settlement.outcome.value,
        settlement.reason,
        settlement.attempts,
        settled_ms,
        settlement.failures[0].entity if settlement.failures else "",  # the first one decided the outcome
    )
    state = before or ConsumerState(offset, settlement.market)
    is_new = event.reason not in (SYNC_ERASED.code, SYNC_OPERATOR.code)
    recent = _with(state.recent, event, is_new=is_new)
    reached = settlement.outcome in (Outcome.SYNCED, Outcome.PARTIAL)
    # A null value deletes in the market where rows were last written, so an event that failed does not move the
    # consumer.
    moved = reached and settlement.market != "-"
    full, rows = state.full, state.rows
    current = full is None or offset >= full.offset
    if reached and not current:  # an older state was written on an operator's demand
        rows = ""
    if reached and settlement.full_state and current:
        full = FullState(offset, settlement.operation, settlement.event_id, settlement.market)
    if reached and current:
        rows = row_list.after(rows, settlement)
    elif settlement.outcome is Outcome.FAILED and current:
        rows = ""  # the event may have written some of its rows
    place = row_list.place_of(settlement.rows)
    gone = [(*row, place) for row in settlement.deleted] if reached else []
    deleted, forgotten = _deleted(state, offset, gone, full)
    return ConsumerState(
        offset=max(offset, state.offset),
        market=settlement.market if moved or state.market == "-" else state.market,
        recent=recent[:RECENT_KEPT],
        synced_ms=settled_ms if reached else state.synced_ms,
        full=full,
        deleted=deleted,
        deleted_forgotten=forgotten,
        rows=rows,
        erased=max(state.erased, offset) if settlement.erases else state.erased,
        mended_ms=None if is_new else state.mended_ms,
    )


def _with(recent: tuple[RecentEvent, ...], event: RecentEvent, *, is_new: bool) -> tuple[RecentEvent, ...]:
    """The consumer's last events with one more, newest first. A dead letter that was closed without running stays where
    it was, because it says nothing new about the consumer."""
    if is_new:
        return event, *(one for one in recent if one.event_id != event.event_id)
    return tuple(replace(event, settled_ms=one.settled_ms) if one.event_id == event.event_id else one for one in recent)


def _deleted(
    state: ConsumerState, offset: int, rows: Iterable[tuple[str, tuple[str, ...], str]], full: FullState | None
) -> tuple[tuple[DeletedRow, ...], int]:
    """The remembered rows that were deleted after the full state, and the offset of the last forgotten one."""
    since = -1 if full is None else full.offset
    if not rows and not state.deleted:
        return (), state.deleted_forgotten if state.deleted_forgotten > since else -1
    # All spellings of a key are one row; the newest entry counts.
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
    """The rows of a place that were deleted one by one after an offset, identified as by ``keys.identity``."""
    return frozenset(
        (row.entity, folded_key(row.key)) for row in state.deleted if row.offset > offset and row.place in ("", place)
    )
