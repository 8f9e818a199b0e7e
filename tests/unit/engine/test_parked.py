"""When a parked event may run, whatever the clocks of the workers say."""

from __future__ import annotations

import pytest

from app.delivery.parked_events import ParkedEvent
from app.engine.parked import ParkedConsumer

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


def failed_at(moment_ms: int, delay_ms: int, attempts: int = 1) -> ParkedEvent:
    return ParkedEvent("c", attempts=attempts, due_ms=moment_ms + delay_ms, last_failed_ms=moment_ms)


@pytest.mark.parametrize(
    ("entry", "seconds"),
    [
        (ParkedEvent("c"), 0.0),
        (failed_at(NOW_MS, 8_000), 8.0),
        (failed_at(NOW_MS - 6_000, 8_000), 2.0),
        (failed_at(NOW_MS - HOUR_MS, 8_000), 0.0),
        # Whoever tried it last had a clock that is an hour ahead, or this one's was set back.
        (failed_at(NOW_MS + HOUR_MS, 8_000), 8.0),
        (failed_at(NOW_MS + HOUR_MS, -1), 0.0),
    ],
)
def test_nobody_waits_longer_than_was_meant(entry: ParkedEvent, seconds: float) -> None:
    assert max(0.0, ParkedConsumer([7]).wait_seconds(7, entry, NOW_MS, clock=100.0)) == seconds


def test_the_wait_goes_on_by_a_clock_that_nobody_sets() -> None:
    parked, entry = ParkedConsumer([7]), failed_at(NOW_MS + HOUR_MS, 8_000)
    assert parked.wait_seconds(7, entry, NOW_MS, clock=100.0) == 8.0
    assert parked.wait_seconds(7, entry, NOW_MS - HOUR_MS, clock=105.0) == 3.0
    assert parked.wait_seconds(7, entry, NOW_MS, clock=108.0) <= 0.0
    # The next attempt, and the next event, have waits of their own.
    assert parked.wait_seconds(7, failed_at(NOW_MS, 9_000, attempts=2), NOW_MS, clock=108.0) == 9.0
    assert parked.wait_seconds(8, ParkedEvent("c"), NOW_MS, clock=108.0) <= 0.0
