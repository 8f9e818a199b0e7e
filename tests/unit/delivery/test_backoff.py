"""Waiting between attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.delivery.backoff import delay_seconds
from app.settings import SyncSettings

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
def test_at_least_half_of_each_step_is_waited_for(attempt: int, base: float, maximum: float) -> None:
    shortest, longest = (delay_seconds(attempt, base, maximum, fraction) for fraction in (0.0, 1.0))
    assert longest == min(base * 2.0 ** min(attempt - 1, 32), maximum)
    assert shortest * 2 == longest


def test_the_attempts_cover_the_minutes_that_a_slow_database_lasts() -> None:
    defaults = SyncSettings()
    waits = [
        delay_seconds(attempt, defaults.backoff_base_seconds, defaults.backoff_max_seconds, 0.0)
        for attempt in range(1, defaults.max_attempts)
    ]
    assert sum(waits) >= 60
