"""What Marketing Cloud should hold for a consumer after its last settled full state. Pure.

The event and the list of rows in the consumer record (``row_list.py``) say it:

| last full state           | list     | wanted                              | other entity rows       |
|---------------------------|----------|-------------------------------------|-------------------------|
| UPDATE                    | any      | parent, exactly its entity rows     | are drift               |
| NEW                       | complete | parent, its entity rows, the listed | are drift               |
| NEW                       | in part  | parent, its entity rows, the listed | neither right nor wrong |
| NEW                       | none     | parent, its entity rows             | neither right nor wrong |
| DELETE of the profile     | any      | nothing                             | are drift               |
| NEW, UPDATE, not in Kafka | complete | the listed                          | are drift               |
| NEW, UPDATE, not in Kafka | in part  | the listed                          | neither right nor wrong |
| NEW, UPDATE, not in Kafka | none     | a parent row, whatever it contains  | neither right nor wrong |
| DELETE, not in Kafka      | any      | nothing                             | are drift               |
| none                      | none     | nothing is known                    | neither right nor wrong |

If other rows are neither right nor wrong, the consumer is checked in part.

For a listed row, only the key and a digest are known. If such a row differs, the columns that differ are not known; and
a listed row that is missing or different cannot be repaired. There is no list in records of older programs, after an
event that failed (it may have written some of its rows), and after the account, a data extension or a primary key
changed. If only columns changed, the values of listed rows are not checked.

Rows that later events deleted one by one are not wanted; if they are held, they are drift. If more rows were deleted
than the consumer record remembers and there is no complete list, entity rows may be missing, and the consumer is
checked in part.

A column that an event does not name is ignored in the parent row and, after a NEW, in every row. After an UPDATE,
entity rows should look as if they had been deleted and posted (see ``diff``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import RowKey
from app.delivery.outcome import Outcome
from app.profile.consumer_history import RECENT_KEPT, deleted_since
from app.profile.diff import EntityRow
from app.profile.entities import Catalog, EntityType
from app.profile.event import Operation, ProfileEvent
from app.profile.holdings.row_digests import Digests, digests_of
from app.profile.holdings.row_list import ListedRow, row_list
from app.profile.keys import identity
from app.profile.supersedes import Superseded, what_is_left

IN_PART_NEW = "a NEW does not say which other entity rows there are"
IN_PART_FORGOTTEN = "more rows were deleted since than are remembered, so entity rows may be missing"
NOT_IN_KAFKA = "the event is no longer in Kafka"
_ONLY_THE_PARENT = "{}, so only the parent row's existence was checked"
IN_PART_LOST = _ONLY_THE_PARENT.format(NOT_IN_KAFKA)
IN_PART_NOTHING = "no full state of the consumer was ever written"
IN_PART_MANY = "it has more entity rows than are remembered"
IN_PART_COLUMNS = "columns of its data extensions have changed since, so of some rows only the keys were checked"
IN_PART_SPELLING = "times in an unusual spelling were not checked"


class ParentRow(StrEnum):
    """Whether there should be a parent row."""

    THERE = "there"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should be held.

    ``wanted``: rows that must be there, as their event states them. ``clear_unnamed``: see ``diff``. ``listed``:
    further rows that must be there, known by key and digest and compared by ``digests``. ``complete``: no other entity
    row may be there. ``gone``: rows that must not be there in any case. ``may_miss``: entity rows may be missing.
    ``in_part``: why not everything can be checked; None: everything can.
    """

    parent: ParentRow
    wanted: tuple[EntityRow, ...] = ()
    complete: bool = False
    gone: frozenset[RowKey] = frozenset()
    may_miss: bool = False
    in_part: str | None = None
    clear_unnamed: bool = False
    listed: tuple[ListedRow, ...] = ()
    digests: Digests | None = None


def expected_after(event: ProfileEvent, state: ConsumerState, catalog: Catalog) -> Expectation:
    """What a consumer's last full state, and the deletes since then, say about its rows.

    Args:
        event: the event of ``state.full``.
        catalog: the data extensions of its market.
    """
    if event.operation is Operation.DELETE:
        return Expectation(ParentRow.GONE, complete=True)
    offset = state.offset if state.full is None else state.full.offset
    digests = digests_of(state.rows, catalog)
    known = row_list(state.rows, digests.head)
    all_known = known is not None and known.complete
    forgotten = state.deleted_forgotten > offset and not all_known
    left = what_is_left(event, offset, replace(state, deleted_forgotten=-1), catalog)
    assert not isinstance(left, Superseded), "nothing is newer than the last full state"
    new = event.operation is Operation.NEW
    rows = [(row, identity(row[0], row[1], catalog[row[0]])) for row in left.rows()]
    if state.deleted_forgotten > offset and known is not None and all_known:
        # The list no longer has the deleted rows, also those that the record no longer remembers.
        remaining = {row.identity for row in known.rows}
        rows = [(row, key) for row, key in rows if key in remaining]
    said = {key for _, key in rows}
    listed = tuple(
        row
        for row in (known.rows if known is not None and new else ())
        if not row.entity.is_parent and row.identity not in said
    )
    return Expectation(
        ParentRow.THERE,
        ((EntityType.CONSUMER, left.consumer or {}), *(row for row, _ in rows)),
        complete=not new or all_known,
        gone=deleted_since(state, offset, digests.place),
        may_miss=forgotten,
        in_part=_in_part(
            (IN_PART_NEW, new and not all_known), (IN_PART_FORGOTTEN, forgotten), *_unchecked(listed, digests)
        ),
        clear_unnamed=not new,
        listed=listed,
        digests=digests,
    )


def expected_without_event(state: ConsumerState, catalog: Catalog, because: str = NOT_IN_KAFKA) -> Expectation:
    """Like ``expected_after``, if there is no such event or it can no longer be used; ``because`` says why."""
    digests = digests_of(state.rows, catalog)
    if state.full is None:
        gone = deleted_since(state, -1, digests.place)
        return Expectation(ParentRow.UNKNOWN, gone=gone, in_part=IN_PART_NOTHING)
    if state.full.operation == Operation.DELETE:
        return Expectation(ParentRow.GONE, complete=True)
    gone = deleted_since(state, state.full.offset, digests.place)
    known = row_list(state.rows, digests.head)
    if known is None:
        return Expectation(ParentRow.THERE, gone=gone, in_part=_ONLY_THE_PARENT.format(because))
    new = state.full.operation == Operation.NEW
    return Expectation(
        ParentRow.THERE,
        complete=known.complete,
        gone=gone,
        in_part=_in_part((IN_PART_NEW if new else IN_PART_MANY, not known.complete), *_unchecked(known.rows, digests)),
        listed=known.rows,
        digests=digests,
    )


def _in_part(*notes: tuple[str, bool]) -> str | None:
    return "; ".join(note for note, holds in notes if holds) or None


def _unchecked(listed: Sequence[ListedRow], digests: Digests) -> tuple[tuple[str, bool], ...]:
    """Why not all values of listed rows can be checked."""
    return (
        (IN_PART_COLUMNS, any(row.kinds is None for row in listed)),
        (IN_PART_SPELLING, any(row.kinds is not None and not digests.checks_all(row) for row in listed)),
    )


def only_failed(state: ConsumerState) -> bool:
    """Whether all known events of a consumer failed, so that none was written."""
    if state.full is not None or not state.recent or state.recent[0].operation == Operation.DELETE:
        return False
    return all(event.outcome in (Outcome.FAILED, Outcome.INVALID, Outcome.DISCARDED) for event in state.recent)


def failed_since(state: ConsumerState) -> bool:
    """Whether a later event failed or may have: it may have written some rows, and its dead letter may be open."""
    for event in state.recent:
        if state.full is not None and event.event_id == state.full.event_id:
            return False
        if event.outcome == Outcome.FAILED:
            return True
    # Older events are not remembered. If none of them had failed, there would be a list, except after an older program.
    return len(state.recent) >= RECENT_KEPT and state.full is not None and not state.rows
