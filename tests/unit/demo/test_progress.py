"""When all is settled, when nothing moves, and how quick it is."""

from __future__ import annotations

import pytest

from app.demo.clients import Totals
from app.demo.progress import Patience, Rate, all_settled, most_advanced

DONE = Totals(complete=True, synced=9, failed=1, events=10)


def test_settled_when_every_worker_says_so() -> None:
    assert all_settled(10, [DONE, DONE])


@pytest.mark.parametrize(
    "other",
    [
        None,
        Totals(complete=False, synced=10, events=10),
        Totals(complete=True, synced=9, events=9),
        Totals(complete=True, synced=10, events=10, parked=1),
    ],
    ids=["no answer", "catching up", "one missing", "one parked"],
)
def test_not_settled_while_one_worker_says_otherwise(other: Totals | None) -> None:
    assert not all_settled(10, [DONE, other])


def test_not_settled_when_nobody_answers() -> None:
    assert not all_settled(0, [])


def test_too_many_events_are_not_waited_for() -> None:
    assert all_settled(9, [DONE])


def test_the_answer_that_is_furthest_is_shown_and_of_two_the_first() -> None:
    earlier, same = Totals(events=9), Totals(complete=True, events=10, parked=3)
    assert most_advanced([None, earlier, DONE, same]) is DONE
    assert most_advanced([None]) == Totals()


def test_patience_ends_when_nothing_changed_for_too_long() -> None:
    patience = Patience(10.0)
    assert not patience.exhausted(0.0, 1)
    assert not patience.exhausted(9.0, 1)
    assert not patience.exhausted(10.5, 2)
    assert not patience.exhausted(20.0, 2)
    assert patience.exhausted(20.6, 2)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.observe(0.0, 0) == 0.0
    assert rate.observe(1.0, 100) == 100.0
    for second in range(2, 12):
        now = rate.observe(float(second), 100)
    assert now == 0.0
