"""What a redrive would do, from the consumer records: nothing is written."""

from __future__ import annotations

from collections.abc import Iterator

from app.delivery.consumer_record import ConsumerState
from app.delivery.operator_task import LetterFilter, Selection
from app.flows.task_writing import Preview
from app.readmodels import ReadModels
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import ListedLetter

# Above this, the number of superseded dead letters is not counted.
MOST_COUNTED = 10_000


def count_superseded(models: ReadModels, seen: Preview, *, force: bool = False) -> int | None:
    """About how many dead letters of a selection are skipped, because a later state has superseded them; None: too many
    to look at. ``force``: none is skipped."""
    if force:
        return 0
    if seen.total > MOST_COUNTED:
        return None
    return sum(is_superseded(one, state_of(models, one)) for one in open_letters(models, seen.selection))


def open_letters(models: ReadModels, selection: Selection) -> Iterator[ListedLetter]:
    """The open dead letters that a selection means."""
    if selection.ids:
        found = (models.letters.get(one) for one in selection.ids)
        yield from (one for one in found if one is not None and one.status in _OPEN_ONES)
        return
    yield from _pages(models, selection.filter)


_OPEN_ONES = frozenset({ShownStatus.OPEN, ShownStatus.REDRIVING})


def _pages(models: ReadModels, chosen: LetterFilter) -> Iterator[ListedLetter]:
    cursor: str | None = None
    while True:
        page = models.letters.page(chosen, _OPEN_ONES, limit=200, cursor=cursor)
        yield from page.items
        cursor = page.next
        if cursor is None:
            return


def state_of(models: ReadModels, listed: ListedLetter) -> ConsumerState | None:
    """The record of a dead letter's consumer; None: there is none."""
    consumer = listed.letter.settlement.consumer_id
    if consumer is None or listed.id.foreign:
        return None
    found = models.consumer_record(listed.id.partition, consumer)
    return found[1] if found else None


def is_superseded(listed: ListedLetter, state: ConsumerState | None) -> bool:
    """Whether a later full state of the consumer was written. Rows that were deleted since are not looked at.

    It is an estimate for many dead letters: the event itself is not read.
    """
    if state is None:
        return False
    full = state.full
    if full is not None and full.offset > listed.id.offset:
        return True
    return state.deleted_forgotten > listed.id.offset and listed.letter.settlement.operation != "DELETE"
