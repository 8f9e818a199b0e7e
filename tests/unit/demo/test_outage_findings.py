"""Whether an outage went as promised, and the reports if it did not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.demo.dead_letters import DeadLetter
from app.demo.outage_findings import (
    OutageFindings,
    given_up_in_outage,
    outage_problems,
    outage_report,
    outage_summary,
)
from app.demo.outage_plan import OutagePlan, outage_rules
from app.demo.outage_story import OutageStory
from app.simulator.faults import FaultRule, Faults, FaultVerdict

STORY = OutageStory(
    OutagePlan(30.0),
    pace=50.0,
    began_at=5.0,
    opened_at=5.5,
    ended_at=35.0,
    closed_at=36.0,
    recovered_at=60.0,
    resolved=True,
    over=True,
)
GOOD = OutageFindings(STORY, dead_letters=0, incidents=1)
NOT_OPENED = replace(STORY, opened_at=None, closed_at=None, recovered_at=None, resolved=False)


def test_when_it_went_as_promised_nothing_is_said() -> None:
    assert outage_problems(GOOD) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replace(GOOD, dead_letters=1_500), "1,500 events became dead letters because of the outage"),
        (replace(GOOD, incidents=0), "the outage led to 0 incidents instead of one"),
        (replace(GOOD, incidents=2), "the outage led to 2 incidents instead of one"),
        (replace(GOOD, story=replace(STORY, resolved=False)), "the incident has no resolve note"),
        (OutageFindings(NOT_OPENED, 0, 0), "no circuit breaker opened: too few events were in progress"),
        (OutageFindings(replace(NOT_OPENED, missed=True), 0, 0), "all events were settled before the outage could"),
    ],
)
def test_each_thing_that_went_wrong_is_said(found: OutageFindings, said: str) -> None:
    (problem,) = outage_problems(found)
    assert said in problem


def test_a_flood_is_said_also_when_no_breaker_opened() -> None:
    assert outage_problems(OutageFindings(NOT_OPENED, dead_letters=32, incidents=0)) == [
        "no circuit breaker opened",
        "32 events became dead letters because of the outage",
        "the outage led to 0 incidents instead of one",
    ]


def test_the_report_has_seconds_and_counts_and_nulls_for_what_was_not_seen() -> None:
    assert outage_report(replace(GOOD, dead_letters=3)) == {
        "breakerOpenSeconds": 30.5,
        "deadLettersDuringOutage": 3,
        "incidents": 1,
        "recoverySeconds": 25.0,
    }
    nothing = outage_report(OutageFindings(NOT_OPENED, 0, 0))
    assert nothing["breakerOpenSeconds"] is None
    assert nothing["recoverySeconds"] is None


def test_the_summary_fits_a_line() -> None:
    assert outage_summary(GOOD) == "Breaker open for 30.5 s, 0 dead letters because of the outage, 1 incident."
    assert outage_summary(OutageFindings(NOT_OPENED, 0, 0)).startswith("No breaker opened")
    assert len(outage_summary(OutageFindings(STORY, 9_999, 9))) <= 80


def test_a_dead_letter_counts_once_and_a_refused_row_is_not_the_outages_doing() -> None:
    lost = DeadLetter((b"1", b"2"), "CMT-UNAVAILABLE")
    assert given_up_in_outage([lost, lost, DeadLetter((b"1", b"3"), "CMT-CONNECTION")]) == 2
    assert given_up_in_outage([DeadLetter((b"1", b"4"), "CMT-ROW-ERROR")]) == 0
    assert given_up_in_outage([DeadLetter((b"1", b"5"), "not-in-the-registry")]) == 1


def test_while_the_target_is_down_no_call_and_no_token_request_is_answered_but_incidents_are_taken() -> None:
    faults = Faults()
    for rule in outage_rules():
        faults.add(FaultRule.model_validate(rule))
    kinds = set()
    for operation in ("Create", "Update", "Delete", "Retrieve"):
        for _ in range(50):
            fault = faults.for_soap(operation, [("CMT_Consumer", "c-1")]).fault
            assert fault is not None
            kinds.add(str(fault.kind))
    assert kinds == {"reset", "http_503"}
    assert faults.for_token().fault is not None
    assert faults.for_incident() == FaultVerdict()
