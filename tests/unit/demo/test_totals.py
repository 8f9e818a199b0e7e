"""What adds up, what does not, and the reports about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.demo.clients import Totals
from app.demo.rows import RowCheck
from app.demo.totals import Findings, problems, report

GOOD = Findings(
    published=10,
    totals=Totals(complete=True, synced=7, partial=1, failed=2, events=10),
    dead_letters=2,
    calls=123,
    seconds=4.0,
    rows=RowCheck(checked=30, differing=0, examples=()),
    consumers_checked=4,
    consumers_left_out=1,
)


def test_when_everything_adds_up_nothing_is_said() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replace(GOOD, published=11), "11 events were published, but 10 were counted"),
        (replace(GOOD, published=9), "9 events were published, but 10 were counted"),
        (replace(GOOD, totals=replace(GOOD.totals, parked=3)), "3 events are still parked"),
        (replace(GOOD, totals=replace(GOOD.totals, complete=False)), "the counts are not complete"),
        (
            replace(GOOD, dead_letters=1),
            "2 events failed, are invalid, were superseded or redriven, but 1 are in the dead-letter topic",
        ),
        (
            replace(GOOD, rows=RowCheck(30, 1, ("CMT_Pet c/2: is missing",))),
            "1 of 30 rows differ from what the events say",
        ),
    ],
)
def test_each_thing_that_does_not_add_up_is_said(found: Findings, said: str) -> None:
    (problem,) = problems(found)
    assert said in problem


def test_rows_that_differ_are_named() -> None:
    (problem,) = problems(replace(GOOD, rows=RowCheck(30, 1, ("CMT_Pet c/2: is missing",))))
    assert "CMT_Pet c/2: is missing" in problem


def test_the_report_has_every_number() -> None:
    assert report(GOOD) == {
        "published": 10,
        "synced": 7,
        "partial": 1,
        "failed": 2,
        "invalid": 0,
        "superseded": 0,
        "discarded": 0,
        "events": 10,
        "parked": 0,
        "deadLetters": 2,
        "calls": 123,
        "seconds": 4.0,
        "eventsPerSecond": 2.5,
        "rowsChecked": 30,
        "rowsDiffering": 0,
        "consumersChecked": 4,
        "consumersLeftOut": 1,
    }


def test_counts_are_read_from_an_api_that_says_more_than_we_know() -> None:
    document = {"complete": True, **dict.fromkeys(Totals.__dataclass_fields__, 1), "another": 5}
    assert Totals.of(document).synced == 1


def test_an_event_that_a_redrive_wrote_is_still_in_the_dead_letter_topic() -> None:
    one_more = replace(GOOD, dead_letters=GOOD.dead_letters + 1)
    assert problems(one_more, mended=1) == []
    assert problems(one_more) != []
