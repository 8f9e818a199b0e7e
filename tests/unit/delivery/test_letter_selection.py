"""A selection is of exactly one kind, so that nothing happens to more dead letters than were meant."""

from __future__ import annotations

import pytest

from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import SelectionError, TaskRequest, check_kinds, named
from app.delivery.operator_task import MOST_IDS, NOTE_BYTES, Action, LetterFilter, Selection

FILTER = LetterFilter(market="DE")
ONE = Selection((LetterId(5, 26),))


@pytest.mark.parametrize(
    ("ids", "chosen", "everything", "problem"),
    [
        ([], LetterFilter(), False, "choose dead letters by ID"),
        (["5-26"], FILTER, False, "only one way"),
        (["5-26"], LetterFilter(), True, "only one way"),
        ([], FILTER, True, "only one way"),
        ([], LetterFilter(consumer="c" * 513), False, "at most 512 characters"),
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
    ("request_", "problem"),
    [
        (TaskRequest(Action.REDRIVE, chosen=FILTER, force=True), "single IDs"),
        (TaskRequest(Action.REDRIVE, everything=True, force=True), "single IDs"),
        (TaskRequest(Action.DISCARD, ("5-26",), note="why", force=True), "redrive only"),
        (TaskRequest(Action.DISCARD, ("5-26",), note=" "), "needs a note"),
        (TaskRequest(Action.DISCARD, ("5-26",), note="why", rate=5), "redrive only"),
        (TaskRequest(Action.REDRIVE, ("5-26",), note="é" * (NOTE_BYTES // 2 + 1)), "has 502 bytes; at most 500"),
        (TaskRequest(Action.REDRIVE, ("5-26",), note="\ud800"), "not valid UTF-8"),
        *((TaskRequest(Action.REDRIVE, everything=True, rate=rate), "from 0.01") for rate in (0, -1, 1e-9, 1e9)),
        (TaskRequest(Action.REDRIVE, everything=True, rate=float("nan")), "from 0.01"),
        (TaskRequest(Action.REDRIVE), "choose dead letters by ID"),
    ],
)
def test_what_a_task_may_not_ask_for(request_: TaskRequest, problem: str) -> None:
    with pytest.raises(SelectionError, match=problem):
        request_.check()


def test_what_a_task_may_ask_for() -> None:
    TaskRequest(Action.REDRIVE, ("5-26",), force=True, rate=0.01).check()
    TaskRequest(Action.DISCARD, everything=True, note="why").check()
    TaskRequest(Action.DISCARD, everything=True).check(dry_run=True)


def test_a_dead_letter_that_is_named_twice_is_one() -> None:
    assert named([LetterId(5, 26), LetterId(5, 26)]) == ONE
