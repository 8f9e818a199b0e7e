"""Whether a repair went as promised, and the reports if it did not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.demo.repair_findings import (
    RepairFindings,
    overtaken_writes,
    repair_problems,
    repair_report,
    repair_summary,
)
from app.demo.repair_plan import RepairPlan
from app.demo.repair_story import LetterIncident, RepairStory

STORY = RepairStory(
    RepairPlan(60, 95, ("c-1", "c-2"), 3),
    refused_at=5.0,
    corrected_at=9.0,
    redriven_at=12.5,
    failed_before=3,
    letters_before=3,
    failed_after=0,
    letters_after=0,
    superseded=1,
    exit_code=0,
    outcomes={"synced": 2, "superseded": 1},
    resolved=True,
    over=True,
)
RESOLVED = LetterIncident("INC1", resolved=True)
GOOD = RepairFindings(STORY, (RESOLVED,), overtaken=0)


def test_when_it_went_as_promised_nothing_is_said() -> None:
    assert repair_problems(GOOD) == []


def with_story(**changes: Any) -> RepairFindings:
    return replace(GOOD, story=replace(STORY, **changes))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (with_story(letters_before=2), "3 events were refused, but there were 2 open dead letters and 3 failed events"),
        (with_story(failed_before=4), "3 events were refused, but there were 3 open dead letters and 4 failed events"),
        (with_story(exit_code=1), "the redrive ended with exit code 1"),
        (with_story(letters_after=1), "1 dead letters are open"),
        (with_story(letters_after=None), "An unknown number of dead letters are open"),
        (with_story(failed_after=2), "2 events still count as failed"),
        (with_story(superseded=2), "2 events were redriven and 2 superseded, of 3"),
        (with_story(outcomes={}), "0 events were redriven and 1 superseded, of 3"),
        (replace(GOOD, incidents=()), "the dead letters led to 0 incidents instead of one"),
        (replace(GOOD, incidents=(RESOLVED, RESOLVED)), "the dead letters led to 2 incidents instead of one"),
        (replace(GOOD, incidents=(replace(RESOLVED, resolved=False),)), "the incident is not resolved"),
        (replace(GOOD, overtaken=1), "1 rows were written by an older event after a newer one"),
        (with_story(missed=True), "no event could be refused; publish more events (--events)"),
    ],
)
def test_each_thing_that_went_wrong_is_said(found: RepairFindings, said: str) -> None:
    assert repair_problems(found) == [said]


def test_the_report_has_the_counts_before_and_after_and_the_summary_fits_a_line() -> None:
    assert repair_report(GOOD) == {
        "consumers": 2,
        "deadLetters": 3,
        "failedBefore": 3,
        "failedAfter": 0,
        "openDeadLetters": 0,
        "redriven": 2,
        "superseded": 1,
        "redriveSeconds": 3.5,
        "incidents": 1,
        "incidentResolved": True,
        "overtaken": 0,
    }
    assert repair_summary(GOOD) == "3 dead letters: 2 redriven, 1 superseded; 1 incident, order kept."
    many = with_story(letters_before=9_999, outcomes={"synced": 8_888}, superseded=1_111)
    assert len(repair_summary(replace(many, overtaken=99))) <= 80


def write(at: str, **changes: Any) -> dict[str, Any]:
    return {"operation": "Update", "status": "ok", "rows": [{"ConsumerId": "c-1", "UpdatedAt": at}]} | changes


def test_a_write_is_overtaken_if_a_newer_event_was_written_before_it() -> None:
    assert overtaken_writes([write("2026-01-01T08:00:01Z"), write("2026-01-01T08:00:02Z")]) == 0
    assert overtaken_writes([write("2026-01-01T08:00:02Z"), write("2026-01-01T08:00:01Z")]) == 1
    # What was refused, or deleted, wrote nothing.
    assert overtaken_writes([write("2"), write("1", status="error"), write("1", operation="Delete"), write("2")]) == 0
