"""What an audience is told of an outage: in order, once, and with the numbers of that moment."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from app.demo.outage_plan import LEAD_SECONDS, OutagePlan
from app.demo.outage_story import NOTE_SECONDS, OutageIncident, OutageLook, OutageStory

SECONDS = 30.0
CALM = OutageLook(
    now=1.0,
    settled=50,
    waiting=4,
    all_settled=False,
    breakers={"worker 1": False, "worker 2": False},
    dead_letters=0,
    incidents=(),
)
OPEN = {"worker 1": True, "worker 2": True}
OPENED = OutageIncident("INC1", resolved=False)
RESOLVED = OutageIncident("INC1", resolved=True)
BACK = LEAD_SECONDS + SECONDS


def at(now: float, **changes: object) -> OutageLook:
    return replace(CALM, now=now, **changes)  # type: ignore[arg-type]


def story() -> OutageStory:
    return OutageStory(OutagePlan(SECONDS), pace=50.0)


def told(outage: OutageStory, look: OutageLook) -> list[str]:
    """As the demo drives it."""
    if outage.due_to_begin(look):
        return [outage.begin(look), *outage.observe(look)]
    if outage.due_to_end(look):
        return [outage.end(look), *outage.observe(look)]
    return outage.observe(look)


def follow(outage: OutageStory, *looks: OutageLook) -> list[str]:
    return [text for look in looks for text in told(outage, look)]


def test_an_outage_is_told_from_its_beginning_to_its_end() -> None:
    outage = story()
    assert follow(
        outage,
        CALM,
        at(LEAD_SECONDS),
        at(5.5, waiting=12, breakers={"worker 1": True, "worker 2": False}),
        at(6.0, waiting=14, breakers=OPEN),
        at(16.0, waiting=500, breakers=OPEN, incidents=(OPENED,)),
        at(BACK, waiting=1500, breakers=OPEN, incidents=(OPENED,)),
        at(36.0, waiting=1510, breakers={"worker 1": True, "worker 2": False}, incidents=(OPENED,)),
        at(36.5, waiting=1511, incidents=(OPENED,)),
        at(37.0, waiting=1400, incidents=(RESOLVED,)),
        at(60.0, waiting=30, incidents=(RESOLVED,)),
        at(61.0, waiting=30, incidents=(RESOLVED,)),
    ) == [
        "Marketing Cloud goes down for 30 s: calls and tokens get no answer",
        "worker 1: circuit breaker opens, consumption pauses; 12 events wait",
        "worker 2: circuit breaker opens, consumption pauses; 14 events wait",
        "ServiceNow: INC1 is open; 500 events wait, 0 dead letters",
        "Marketing Cloud is back; 1,500 events wait",
        "worker 2: its probe got an answer, circuit breaker closes",
        "worker 1: its probe got an answer, circuit breaker closes",
        "Work resumes: 1,511 events wait, 0 dead letters",
        "ServiceNow: INC1 has its resolve note",
        "The backlog is worked off, 25.0 s after the return",
    ]
    assert outage.over
    assert (outage.opened_at, outage.closed_at) == (5.5, 36.5)
    assert (outage.ended_at, outage.recovered_at) == (BACK, 60.0)


def test_it_begins_only_while_events_are_under_way() -> None:
    assert not story().due_to_begin(at(LEAD_SECONDS, settled=0))
    assert not story().due_to_begin(at(LEAD_SECONDS - 0.1))
    assert story().due_to_begin(at(LEAD_SECONDS))


def test_when_all_were_settled_before_it_is_said_and_not_waited_for() -> None:
    outage = story()
    assert follow(outage, at(2.0, all_settled=True), at(LEAD_SECONDS, all_settled=True)) == [
        "All events were settled before the outage could begin"
    ]
    assert outage.missed
    assert outage.over
    assert not outage.due_to_begin(at(60.0))


def test_without_an_event_in_it_no_breaker_opens_and_the_end_is_the_end_of_the_events() -> None:
    outage = story()
    follow(outage, at(LEAD_SECONDS), at(BACK), at(40.0))
    assert not outage.over
    assert told(outage, at(41.0, all_settled=True)) == ["No circuit breaker opened"]
    assert outage.over


def test_a_worker_that_does_not_answer_has_not_closed_its_breaker_and_one_that_is_gone_has_none() -> None:
    outage = story()
    follow(outage, at(LEAD_SECONDS), at(6.0, breakers=OPEN), at(BACK, breakers=OPEN))
    assert told(outage, at(36.0, breakers={"worker 1": None, "worker 2": None})) == []
    assert outage.closed_at is None
    follow(outage, at(37.0, breakers={"worker 2": False}))
    assert outage.closed_at == 37.0


def test_a_backlog_is_worked_off_before_the_note_but_told_after_it() -> None:
    outage = story()
    follow(outage, at(LEAD_SECONDS), at(6.0, breakers=OPEN, incidents=(OPENED,)), at(BACK, breakers=OPEN))
    follow(outage, at(36.0, incidents=(OPENED,)))
    assert outage.recovered_at == 36.0
    assert not outage.over
    assert told(outage, at(38.0, incidents=(RESOLVED,))) == [
        "ServiceNow: INC1 has its resolve note",
        "The backlog is worked off, 1.0 s after the return",
    ]


def test_a_note_that_never_comes_is_not_waited_for_without_end() -> None:
    outage = story()
    follow(outage, at(LEAD_SECONDS), at(6.0, breakers=OPEN, incidents=(OPENED,)), at(BACK, breakers=OPEN), at(36.0))
    assert told(outage, at(36.0 + NOTE_SECONDS)) == []
    assert told(outage, at(36.1 + NOTE_SECONDS))[0] == "No incident has a resolve note"
    assert outage.over
    assert not outage.resolved


def test_dead_letters_of_before_are_not_counted() -> None:
    outage = story()
    follow(outage, at(LEAD_SECONDS, dead_letters=7))
    (text,) = told(outage, at(16.0, dead_letters=9, incidents=(OPENED,)))
    assert text.endswith("2 dead letters")


def test_every_line_fits_80_columns_with_its_time() -> None:
    outage = story()
    many = {"waiting": 9_999, "dead_letters": 9_999}
    lines = follow(
        outage,
        at(LEAD_SECONDS),
        at(6.0, breakers=OPEN, incidents=(replace(OPENED, number="INC0010001"),), **many),
        at(BACK, breakers=OPEN, **many),
        at(36.0, incidents=(replace(RESOLVED, number="INC0010001"),), **many),
        at(999.9, incidents=(RESOLVED,)),
    )
    assert len(lines) == 10
    assert max(map(len, lines)) <= 80 - len(" 999.9 s  ")


def test_the_incident_comes_while_the_target_is_down_however_short_that_is() -> None:
    for seconds in (5.0, 30.0, 600.0):
        plan = OutagePlan(seconds)
        assert float(plan.worker_variables()["SYNC_BREAKER_ALERT_SECONDS"]) <= min(10.0, seconds / 2)


def test_events_are_published_before_in_and_after_the_outage() -> None:
    for shorter, longer in pairwise((5.0, 30.0, 600.0)):
        assert OutagePlan(shorter).publishing_seconds > LEAD_SECONDS + shorter
        assert OutagePlan(longer).publishing_seconds > OutagePlan(shorter).publishing_seconds
