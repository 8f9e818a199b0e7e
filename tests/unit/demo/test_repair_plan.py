"""Whose rows are refused in the scenario "repair": their failures are of one kind, and no other row is refused."""

from __future__ import annotations

from collections import Counter

import pytest

from app.demo.repair_plan import EVENTS, MOST_CONSUMERS, RepairPlan
from app.profile.event import Operation, ProfileEvent
from app.profile.samples.samples import sample_events
from app.simulator.faults import FaultRule, Faults

KEY = "CMT_Consumer"


def refused(plan: RepairPlan, events: list[ProfileEvent]) -> list[ProfileEvent]:
    """The events that meet the fault: those that write the row of a chosen consumer meanwhile."""
    return [
        event
        for event in events[plan.break_at : plan.correct_at]
        if event.consumer_id in plan.consumers and event.operation is not Operation.DELETE
    ]


@pytest.mark.parametrize("seed", range(5))
def test_by_default_there_are_200_consumers_and_all_failures_are_updates(seed: int) -> None:
    events = list(sample_events(EVENTS, seed))
    plan = RepairPlan.of(events)
    assert len(plan.consumers) == len(set(plan.consumers)) == MOST_CONSUMERS
    assert plan.letters == len(refused(plan, events)) >= MOST_CONSUMERS
    assert {event.operation for event in refused(plan, events)} == {Operation.UPDATE}


def test_some_consumers_have_several_dead_letters_and_some_a_later_event() -> None:
    events = list(sample_events(EVENTS, 0))
    plan = RepairPlan.of(events)
    assert max(Counter(event.consumer_id for event in refused(plan, events)).values()) > 1
    assert {event.consumer_id for event in events[plan.correct_at :]} & set(plan.consumers)


def test_no_profile_of_a_chosen_consumer_is_deleted_meanwhile() -> None:
    events = list(sample_events(EVENTS, 1))
    plan = RepairPlan.of(events)
    meanwhile = events[plan.break_at : plan.correct_at]
    assert not [event for event in meanwhile if event.consumer_id in plan.consumers and event.deletes_profile]


def test_one_event_alone_can_not_be_refused() -> None:
    assert RepairPlan.of(list(sample_events(1, 0))).letters == 0


def test_the_faults_refuse_the_rows_of_the_chosen_consumers_and_no_others() -> None:
    plan = RepairPlan(0, 1, ("c-1", "c-2"), 2)
    faults = Faults()
    for rule in plan.faults(KEY):
        faults.add(FaultRule.model_validate(rule))
    assert faults.for_row("Update", (KEY, "c-1")) is not None
    assert faults.for_row("Update", (KEY, "c-3")) is None
    assert faults.for_row("Delete", (KEY, "c-1")) is None
    assert faults.for_row("Update", ("CMT_Pet", "c-1")) is None
