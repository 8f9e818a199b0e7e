"""Waiting between attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.domain.backoff import delay_seconds

_attempts = st.integers(1, 10_000)
# Milliseconds and 1,024ths: numbers so small that halving them rounds are no waiting times.
_seconds = st.integers(0, 10_000_000).map(lambda n: n / 1000)
_fractions = st.integers(0, 1023).map(lambda n: n / 1024)


@given(_attempts, _seconds, _seconds, _fractions)
def test_wait_is_never_negative_and_never_longer_than_the_maximum(
    attempt: int, base: float, maximum: float, fraction: float
) -> None:
    assert 0 <= delay_seconds(attempt, base, maximum, fraction) <= maximum


@given(st.integers(1, 25), st.floats(0.001, 10), _fractions)
def test_each_attempt_doubles_the_step(attempt: int, base: float, fraction: float) -> None:
    first, second = (delay_seconds(n, base, 1e12, fraction) for n in (attempt, attempt + 1))
    assert second == 2 * first


@given(_attempts, _seconds, _seconds)
def test_jitter_is_full_from_nothing_to_the_step(attempt: int, base: float, maximum: float) -> None:
    assert delay_seconds(attempt, base, maximum, 0.0) == 0
    assert delay_seconds(attempt, base, maximum, 0.5) * 2 == delay_seconds(attempt, base, maximum, 1.0)
