"""How long a throttled call waits, and when it is left to its event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cmt.throttled import MOST_SECONDS, Throttled, wait_seconds

_fractions = st.integers(0, 1023).map(lambda n: n / 1024)


@given(st.floats(0, 10_000), _fractions)
def test_the_wait_is_between_a_second_and_a_minute(doublings: float, fraction: float) -> None:
    assert 1.0 <= wait_seconds(doublings, None, fraction) <= MOST_SECONDS


@given(st.floats(0, 10_000), st.integers(1, 3600), _fractions)
def test_what_is_asked_for_is_kept_to_and_hardly_exceeded(doublings: float, retry_after: int, fraction: float) -> None:
    assert retry_after <= wait_seconds(doublings, retry_after, fraction) <= 1.1 * retry_after


@pytest.mark.parametrize("retry_after", [0.0, 0.01])
def test_a_target_that_says_at_once_is_not_stormed(retry_after: float) -> None:
    assert wait_seconds(3, retry_after, 0.0) == wait_seconds(3, None, 0.0) >= 1.0


def test_the_wait_doubles_while_nobody_gets_through() -> None:
    call = Throttled(60.0, now=0.0, answered=7)
    waits = [call.again(0.0, 7, None, 0.0) for _ in range(9)]
    assert waits == [1, 1, 2, 4, 8, 16, 30, 30, 30]


def test_the_wait_grows_slowly_while_others_get_through() -> None:
    call = Throttled(60.0, now=0.0, answered=7)
    waits = [call.again(0.0, 7 + number, None, 0.0) for number in range(10)]
    assert waits[0] == waits[3] == 1.0
    assert waits[6] == pytest.approx(2.0)
    assert waits[9] == pytest.approx(4.0)


def test_a_call_is_left_to_its_event_when_others_get_through_for_so_long() -> None:
    call = Throttled(60.0, now=100.0, answered=7)
    assert call.again(100.0, 7, None, 0.0) is not None
    assert call.again(159.0, 500, None, 0.0) is not None, "not for long enough"
    assert call.again(161.0, 7, None, 0.0) is not None, "nobody else gets through"
    assert call.again(9_000.0, 8, None, 0.0) is None
