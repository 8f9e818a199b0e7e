"""What an audience is told of a repair: in order, once, and with the numbers of that moment."""

from __future__ import annotations

from dataclasses import replace

from app.demo.repair_plan import RepairPlan
from app.demo.repair_story import PATIENCE_SECONDS, LetterIncident, RepairLook, RepairStory, Step

PLAN = RepairPlan(break_at=60, correct_at=95, consumers=[f"c-{number}" for number in range(8)], letters=10)
EVENTS = 100
LOOK = RepairLook(now=1.0, settled=10, failed=0, superseded=0, open=0, all_settled=False)
OPEN = LetterIncident("INC0010001", resolved=False)
RESOLVED = replace(OPEN, resolved=True)


def at(now: float, **changes: object) -> RepairLook:
    return replace(LOOK, now=now, **changes)  # type: ignore[arg-type]


def told(story: RepairStory, look: RepairLook) -> list[str]:
    """As the demo drives it."""
    match story.step(look):
        case Step.REFUSE:
            return [story.refuse(look), *story.observe(look)]
        case Step.CORRECT:
            return [*story.correct(look), *story.observe(look)]
        case Step.NOTHING:
            return story.observe(look)


def follow(story: RepairStory, *looks: RepairLook) -> list[str]:
    return [text for look in looks for text in told(story, look)]


BROKEN = at(9.0, settled=95, failed=10, open=10, incidents=(OPEN,))
REDRIVEN = at(20.0, settled=100, failed=0, superseded=3, open=0, all_settled=True, exit_code=0, outcomes={"synced": 7})


def test_a_repair_is_told_from_its_beginning_to_its_end() -> None:
    story = RepairStory(PLAN)
    assert follow(
        story,
        LOOK,
        at(5.0, settled=60),
        at(6.0, settled=70, failed=2, open=2, incidents=(OPEN,)),
        BROKEN,
        replace(BROKEN, now=9.5),
        at(15.0, settled=100, failed=4, open=4, all_settled=True, incidents=(OPEN,)),
        replace(REDRIVEN, incidents=(OPEN,)),
        replace(REDRIVEN, now=26.0, incidents=(RESOLVED,)),
        replace(REDRIVEN, now=27.0, incidents=(RESOLVED,)),
    ) == [
        "Column LastName is too short now; rows of 8 consumers are refused",
        "ServiceNow: INC0010001 is open",
        "10 dead letters are open; all other events are settled",
        "The column is long enough again. An operator types:",
        "profile-sync dlq redrive --fingerprint CMT-ROW-INVALID:consumer:UPDATE --rate 50 --yes --wait",
        "The command ends with exit code 0",
        "0 dead letters are open: 7 redriven, 3 superseded",
        "Failed events: 10 before, 0 now",
        "ServiceNow: INC0010001 is resolved",
    ]
    assert story.over
    assert (story.failed_before, story.failed_after, story.letters_before, story.letters_after) == (10, 0, 10, 0)


def test_each_part_is_published_when_the_one_before_it_is_settled() -> None:
    story = RepairStory(PLAN)
    assert story.may_publish(EVENTS) == 60
    follow(story, at(5.0, settled=59))
    assert story.may_publish(EVENTS) == 60
    follow(story, at(5.0, settled=60))
    assert story.may_publish(EVENTS) == 95
    follow(story, BROKEN, replace(BROKEN, now=9.5))
    assert story.may_publish(EVENTS) == EVENTS


def test_nothing_is_corrected_before_all_is_refused_and_the_incident_is_open() -> None:
    story = RepairStory(PLAN)
    follow(story, at(5.0, settled=60), replace(BROKEN, incidents=()))
    assert story.step(replace(BROKEN, now=10.0, incidents=())) is Step.NOTHING
    follow(story, BROKEN)
    assert story.step(replace(BROKEN, open=9)) is Step.NOTHING
    assert story.step(replace(BROKEN, settled=None)) is Step.NOTHING
    assert story.step(BROKEN) is Step.CORRECT


def test_an_incident_that_never_comes_is_not_waited_for_without_end() -> None:
    story = RepairStory(PLAN)
    follow(story, at(5.0, settled=60), replace(BROKEN, incidents=()))
    assert story.step(replace(BROKEN, now=9.1 + PATIENCE_SECONDS, incidents=())) is Step.CORRECT


def test_what_stays_open_is_said_after_a_while() -> None:
    story = RepairStory(PLAN)
    follow(story, at(5.0, settled=60), BROKEN, replace(BROKEN, now=9.5))
    stuck = replace(REDRIVEN, exit_code=1, failed=1, open=1, incidents=(OPEN,))
    assert told(story, stuck) == ["The command ends with exit code 1"]
    assert told(story, replace(stuck, now=20.1 + PATIENCE_SECONDS)) == [
        "1 dead letter is open: 7 redriven, 3 superseded",
        "Failed events: 10 before, 1 now",
        "ServiceNow: INC0010001 is not resolved",
    ]
    assert story.over
    assert not story.resolved


def test_when_no_event_can_be_refused_it_is_said_and_all_events_are_published() -> None:
    story = RepairStory(replace(PLAN, letters=0, consumers=()))
    assert follow(story, LOOK, at(2.0)) == ["None of the events can be refused"]
    assert story.may_publish(EVENTS) == EVENTS
    assert not story.over
    follow(story, at(3.0, all_settled=True))
    assert story.over


def test_every_report_but_the_command_fits_80_columns_with_its_time() -> None:
    story = RepairStory(replace(PLAN, consumers=["c"] * 200, letters=9_999))
    many = {"failed": 9_999, "open": 9_999, "incidents": (OPEN,)}
    lines = follow(
        story,
        at(5.0, settled=60),
        at(9.0, settled=95, **many),
        at(9.5, settled=95, **many),
        replace(REDRIVEN, outcomes={"synced": 8_888}, superseded=1_111, incidents=(RESOLVED,)),
    )
    assert len(lines) == 9
    assert max(len(line) for line in lines if not line.startswith("profile-sync ")) <= 80 - len(" 999.9 s  ")
