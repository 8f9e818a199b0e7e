"""Parked events wait until the events before them were seen."""

from __future__ import annotations

from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.engine.catching_up import CatchingUp


def test_an_owner_without_parked_events_has_nothing_to_catch_up() -> None:
    catching_up = CatchingUp(PartitionState(upto=7))
    assert not catching_up.goes_on
    assert catching_up.may_run(100)


def test_a_parked_event_waits_for_the_events_before_it_that_the_last_owner_had_in_a_lane() -> None:
    # 5 and 6 were in a lane, 7 and 9 were parked.
    parked = {7: ParkedEvent("hot"), 9: ParkedEvent("hot")}
    catching_up = CatchingUp(PartitionState(upto=4, decided_above={7, 9}, parked=parked))
    assert catching_up.goes_on
    assert not catching_up.may_run(7)
    assert catching_up.saw(7), "7 may have waited for that"
    assert catching_up.may_run(7)
    assert not catching_up.may_run(9)
    assert not catching_up.saw(6), "that is behind"
    assert catching_up.saw(9)
    assert not catching_up.goes_on
    assert not catching_up.saw(10), "nothing waits for it"
