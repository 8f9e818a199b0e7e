"""The short form of the torture: a run of half a minute with everything in it, and a short one with the other strategy.

``make torture`` is the long one.
"""

from __future__ import annotations

import os

import pytest

from app.broker.distribution import BrokerStartError
from tests.chaos.report import describe
from tests.chaos.run import Run, carry_out
from tests.chaos.schedule import Blow

REPLACE = Run(
    seed=48,
    events=800,
    seconds=26.0,
    consumers=60,
    down_seconds=3.0,
    deck=(Blow.KILL, Blow.STOP, Blow.BROKER_KILL),
    gap=(1.5, 3.0),
    workers_at_first=2,
    rest_seconds=40.0,
)
RECONCILE = Run(
    seed=48,
    events=300,
    seconds=8.0,
    consumers=30,
    down_seconds=1.5,
    deck=(Blow.KILL,),
    gap=(3.0, 5.0),
    workers_at_first=2,
    rest_seconds=40.0,
    strategy="reconcile",
)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("run", [REPLACE, RECONCILE], ids=lambda run: run.strategy)
def test_nothing_is_lost_overtaken_or_miscounted_under_all_blows(run: Run) -> None:
    assert set(run.deck) <= set(run.schedule().blows()), "the schedule lacks a blow"
    try:
        line = carry_out(run)
    except BrokerStartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs a broker: {error}")
    print(describe(line))
    assert line.verdict.figures.repeated_calls, "nothing was hit, so nothing was proven"
    assert not line.verdict.violations, describe(line)
