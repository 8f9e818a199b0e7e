"""A selection is of exactly one kind, so that nothing happens to more dead letters than were meant."""

from __future__ import annotations

import pytest

from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import SelectionError, check_kinds, check_task, named
from app.delivery.operator_task import MOST_IDS, Action, LetterFilter, Selection

FILTER = LetterFilter(market="DE")
ONE = Selection((LetterId(5, 26),))


@pytest.mark.parametrize(
    ("ids", "chosen", "everything", "problem"),
    [
        ([], LetterFilter(), False, "name dead letters by ID"),
        (["5-26"], FILTER, False, "only one of"),
        (["5-26"], LetterFilter(), True, "only one of"),
        ([], FILTER, True, "only one of"),
        (["5-26"] * (MOST_IDS + 1), LetterFilter(), False, "at most 10,000 IDs"),
    ],
)
def test_none_or_several_kinds_are_refused(
    ids: list[str], chosen: LetterFilter, everything: bool, problem: str
) -> None:
    with pytest.raises(SelectionError, match=problem):
        check_kinds(ids, chosen, everything=everything)


def test_one_kind_is_enough() -> None:
    check_kinds(["5-26"], LetterFilter(), everything=False)
    check_kinds([], FILTER, everything=False)
    check_kinds([], LetterFilter(), everything=True)


@pytest.mark.parametrize(
    ("action", "selection", "note", "force", "problem"),
    [
        (Action.REDRIVE, Selection(filter=FILTER), "", True, "single IDs"),
        (Action.DISCARD, ONE, "why", True, "redrive only"),
        (Action.DISCARD, ONE, " ", False, "needs a note"),
    ],
)
def test_force_is_for_single_redrives_and_a_discard_needs_a_note(
    action: Action, selection: Selection, note: str, force: bool, problem: str
) -> None:
    with pytest.raises(SelectionError, match=problem):
        check_task(action, selection, note=note, force=force)
    check_task(Action.REDRIVE, ONE, note="", force=True)
    check_task(Action.DISCARD, Selection(), note="why", force=False)


def test_a_dead_letter_that_is_named_twice_is_one() -> None:
    assert named([LetterId(5, 26), LetterId(5, 26)]) == ONE
