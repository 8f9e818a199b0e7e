"""A clock is judged by the Date of an answer, which has whole seconds and is older than the answer."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from app.delivery.clock_skew import MOST_SECONDS, clock_line
from app.delivery.installation import Part, PartState

NOW = 1_763_000_000.0


def state(server: float, *, asked_at: float = NOW, answered_at: float = NOW + 0.2) -> PartState:
    return clock_line("mc.example.com", asked_at, answered_at, formatdate(server, usegmt=True)).state


@pytest.mark.parametrize("difference", [0.0, 0.9, 3.0, MOST_SECONDS, -MOST_SECONDS])
def test_a_small_difference_is_fine(difference: float) -> None:
    assert state(NOW + difference) is PartState.OK


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert state(NOW, answered_at=NOW + 14) is PartState.OK
    assert state(NOW + 14, answered_at=NOW + 14) is PartState.OK


@pytest.mark.parametrize(("difference", "said"), [(60, "is 60 s behind that of"), (-61, "is 60 s ahead of that of")])
def test_a_wrong_clock_is_named_with_what_it_does(difference: int, said: str) -> None:
    line = clock_line("mc.example.com", NOW, NOW, formatdate(NOW + difference, usegmt=True))
    assert (line.part, line.state) == (Part.CLOCK, PartState.WRONG)
    assert line.message.startswith(f"{said} mc.example.com. ")
    assert "retries" in line.message
    assert "tokens" in line.message
    assert "NTP" in line.remedy


@pytest.mark.parametrize("header", [None, "", "soon", "Mon, 01 Jan 99999999999 00:00:00 GMT", "x" * 10_000])
def test_an_answer_without_a_usable_date_says_nothing_of_the_clock(header: str | None) -> None:
    line = clock_line("mc.example.com", NOW, NOW, header)
    assert (line.state, line.message) == (PartState.NOT_CHECKED, "the answer of mc.example.com has no Date")
