"""The simulator, told the demo's rules, fails the share of calls that was asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from app.demo.faults import fault_rules
from app.simulator.faults import FaultRule, Faults

CALLS = 20_000
TARGET = ("CMT_Child", "c-1")


def what_happens(rate: float, operation: str) -> Counter[str]:
    """Kinds of faults that so many calls meet in the simulator; "ok" where there is none."""
    faults = Faults(seed=1)
    for rule in fault_rules(rate):
        faults.add(FaultRule.model_validate(rule))
    met: Counter[str] = Counter()
    for _ in range(CALLS):
        fault = faults.for_soap(operation, (TARGET,)).fault
        if fault is None and operation != "Retrieve":
            fault = faults.for_row(operation, TARGET)
        met["ok" if fault is None else fault.kind.value] += 1
    return met


@pytest.mark.parametrize("operation", ["Update", "Delete", "Retrieve"])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_the_share_of_calls_that_fail_is_the_rate(rate: float, operation: str) -> None:
    assert 1 - what_happens(rate, operation)["ok"] / CALLS == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize("operation", ["Update", "Retrieve"])
def test_at_rate_1_every_call_fails(operation: str) -> None:
    assert what_happens(1.0, operation)["ok"] == 0


def test_a_tenth_of_what_fails_fails_for_good() -> None:
    assert what_happens(0.5, "Update")["row_error"] / CALLS == pytest.approx(0.05, rel=0.1)


def test_there_are_faults_of_every_level() -> None:
    kinds = set(what_happens(0.5, "Update"))
    assert kinds >= {"server_fault", "rate_limited", "http_503", "reset", "malformed_xml", "row_error_transient"}


def test_some_answers_are_lost_after_the_write_took_effect() -> None:
    assert any(rule.get("after") for rule in fault_rules(0.1))


def test_rate_0_sets_no_rule() -> None:
    assert fault_rules(0.0) == []
