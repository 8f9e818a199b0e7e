"""Which call meets which fault."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from app.simulator.faults import DEFAULT_SLOW_MS, FaultKind, FaultRule, Faults, FaultVerdict

PET = ("CMT_Pet", "c1")


def faults(*rules: dict[str, Any], seed: int = 0) -> Faults:
    made = Faults(seed)
    for rule in rules:
        made.add(FaultRule.model_validate(rule))
    return made


def kind(verdict: FaultVerdict) -> FaultKind | None:
    return verdict.fault.kind if verdict.fault else None


def test_without_rules_nothing_happens() -> None:
    assert faults().for_soap("Update", [PET]) == FaultVerdict()


def test_a_rule_is_spent_after_its_times() -> None:
    made = faults({"kind": "rate_limited", "times": 2})
    assert [kind(made.for_soap("Update", [PET])) for _ in range(3)] == ["rate_limited", "rate_limited", None]
    assert made.active() == []
    assert [(rule["id"], rule["hits"]) for rule in made.spent()] == [("1", 2)]
    assert made.fired == {"rate_limited": 2}


def test_the_first_rule_that_matches_wins_and_the_next_one_waits() -> None:
    made = faults({"kind": "reset", "times": 1}, {"kind": "timeout", "times": 1})
    assert [kind(made.for_soap("Update", [PET])) for _ in range(3)] == ["reset", "timeout", None]


def test_rules_for_a_consumer_and_for_anybody_take_turns_in_the_order_they_were_set() -> None:
    made = faults(
        {"kind": "reset", "consumerId": "c1", "times": 1},
        {"kind": "timeout", "times": 1},
        {"kind": "http_503", "consumerId": "c1", "times": 1},
        {"kind": "maintenance", "consumerId": "c2"},
    )
    assert [kind(made.for_soap("Update", [PET])) for _ in range(4)] == ["reset", "timeout", "http_503", None]
    # A mixed call meets what is meant for any of its consumers.
    assert kind(made.for_soap("Update", [PET, ("CMT_Pet", "c2")])) == "maintenance"
    assert made.remove("4")
    assert not made.remove("4")
    assert (made.clear(), made.active()) == (0, [])


@pytest.mark.parametrize(
    ("fields", "hit"),
    [
        ({}, True),
        ({"operation": "Update"}, True),
        ({"operation": "Delete"}, False),
        ({"dataExtension": "CMT_Pet"}, True),
        ({"dataExtension": "CMT_Child"}, False),
        ({"consumerId": "c1"}, True),
        ({"consumerId": "c2"}, False),
        ({"dataExtension": "CMT_Pet", "consumerId": "c1", "operation": "Update"}, True),
        ({"dataExtension": "CMT_Consumer", "consumerId": "c1"}, False),
    ],
)
def test_a_rule_matches_one_object_of_a_call(fields: dict[str, str], hit: bool) -> None:
    verdict = faults({"kind": "reset", **fields}).for_soap("Update", [("CMT_Consumer", "c9"), PET])
    assert (verdict.fault is not None) is hit


def test_slow_rules_add_up_before_and_after_and_with_a_fault() -> None:
    made = faults(
        {"kind": "slow", "delayMs": 10},
        {"kind": "slow", "delayMs": 20},
        {"kind": "rate_limited", "delayMs": 5, "after": True},
        {"kind": "slow", "after": True},
    )
    verdict = made.for_soap("Update", [PET])
    assert (kind(verdict), verdict.delay_before_ms, verdict.delay_after_ms) == ("rate_limited", 30, 5 + DEFAULT_SLOW_MS)


def test_probability_is_drawn_from_the_seed() -> None:
    def draws(made: Faults) -> list[bool]:
        return [made.for_soap("Update", [PET]).fault is not None for _ in range(300)]

    rule = {"kind": "reset", "probability": 0.2}
    made = faults(rule, seed=3)
    first = draws(made)
    assert first == draws(faults(rule, seed=3))
    assert first != draws(faults(rule, seed=4))
    assert 30 <= sum(first) <= 90
    made.reset()
    made.add(FaultRule.model_validate(rule))
    assert draws(made) == first
    assert not any(draws(faults({"kind": "reset", "probability": 0})))


def test_row_errors_are_met_by_rows_of_writes_only() -> None:
    made = faults({"kind": "row_error", "times": 1})
    assert made.for_soap("Update", [PET]) == FaultVerdict()
    rule = made.for_row("Update", PET)
    assert rule is not None
    assert rule.kind == "row_error"
    assert made.for_row("Update", PET) is None


def test_each_endpoint_meets_its_own_kinds() -> None:
    made = faults({"kind": "token_429"}, {"kind": "incident_500"}, {"kind": "maintenance"}, {"kind": "http_503"})
    assert kind(made.for_token()) == "token_429"
    assert kind(made.for_incident()) == "incident_500"
    assert kind(made.for_soap("Retrieve", [(None, None)])) == "maintenance"


@pytest.mark.parametrize("operation", ["Token", "Incident"])
def test_transport_faults_reach_other_endpoints_when_named(operation: str) -> None:
    made = faults({"kind": "html_500", "operation": operation})
    hit = {"Token": kind(made.for_token()), "Incident": kind(made.for_incident())}
    assert [name for name, found in hit.items() if found] == [operation]
    assert made.for_soap("Update", [PET]) == FaultVerdict()


def test_only_an_unbound_expiry_of_tokens_takes_effect_at_once() -> None:
    at_once = [
        FaultRule.model_validate({"kind": "expire_tokens", **fields}).at_once
        for fields in (
            {},
            {"times": 1},
            {"times": 2},
            {"operation": "Update"},
            {"consumerId": "c"},
            {"probability": 0.5},
        )
    ]
    assert at_once == [True, True, False, False, False, False]
    assert not FaultRule(kind=FaultKind.RESET).at_once


@pytest.mark.parametrize("fields", [{"operation": "Upsert"}, {"delayMs": -1}, {"times": 0}, {"dataextension": "x"}])
def test_rules_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FaultRule.model_validate({"kind": "reset", **fields})
