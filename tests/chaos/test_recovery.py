"""Recovery times count from the right moment, and only if no other blow interfered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.chaos.blows import Done
from tests.chaos.made_up import BEGAN, CALL_SECONDS, CATALOG, evidence
from tests.chaos.schedule import Act, Blow, Deed
from tests.chaos.verdict import judge
from tests.support.simulator_probe import Call

GOOD = evidence()


def killed(at: float, partitions: set[int]) -> Done:
    return Done(Act(0.0, Deed.KILL, 0, Blow.KILL), BEGAN + at, frozenset(partitions))


def at_seconds(calls: list[Call], gap_after: int, gap: float) -> list[Call]:
    """Calls with a gap of ``gap`` seconds after the given number of them."""
    return [
        replace(
            call,
            at=datetime.fromtimestamp(
                BEGAN + number * CALL_SECONDS + (gap if number > gap_after else 0.0), UTC
            ).isoformat(),
        )
        for number, call in enumerate(calls, 1)
    ]


def test_recovery_counts_from_the_end_of_the_session_for_the_slowest_partition() -> None:
    moment = 5 * CALL_SECONDS
    seen = replace(GOOD, calls=at_seconds(list(GOOD.calls), 5, 8.0), done=[killed(moment, {0})])
    recovery = judge(seen, CATALOG).figures.recovery
    assert recovery.kills == 1
    assert recovery.after_kill == pytest.approx(8.0 + CALL_SECONDS - 6.0)


def test_a_recovery_into_which_another_kill_falls_is_not_measured() -> None:
    done = [killed(0.5, {0}), replace(killed(3.0, set()), act=Act(3.0, Deed.KILL, 1, Blow.KILL))]
    seen = replace(GOOD, calls=at_seconds(list(GOOD.calls), 5, 8.0), done=done)
    assert judge(seen, CATALOG).figures.recovery.kills == 0


def test_recovery_from_an_outage_counts_from_its_end() -> None:
    moment = 5 * CALL_SECONDS
    back = Done(Act(0.0, Deed.BROKER_START), BEGAN + moment + 2.0)
    seen = replace(GOOD, calls=at_seconds(list(GOOD.calls), 5, 4.0), done=[back])
    assert judge(seen, CATALOG).figures.recovery.after_outage == pytest.approx(2.0 + CALL_SECONDS)


def test_recovery_of_the_only_worker_counts_from_its_next_start() -> None:
    moment = 5 * CALL_SECONDS
    done = [replace(killed(moment, {0}), alone=True), Done(Act(0.0, Deed.START, 0), BEGAN + moment + 7.0)]
    seen = replace(GOOD, calls=at_seconds(list(GOOD.calls), 5, 8.0), done=done)
    assert judge(seen, CATALOG).figures.recovery.after_kill == pytest.approx(1.0 + CALL_SECONDS)
