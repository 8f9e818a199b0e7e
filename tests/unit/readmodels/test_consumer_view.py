"""One consumer as it is shown."""

from __future__ import annotations

from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import FailureCount
from app.delivery.outcome import Outcome
from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.profile.consumer_history import after_settling
from app.readmodels.consumers import consumer_view
from tests.support.records import settlement

PARKED = ParkedEvent("C-1", "e-2", 2, 1_795_000_001_000, 1_795_000_000_000, 1_795_000_000_500, "CMT-TIMEOUT")
WAITS = ParkedEvent("C-1", "e-3", 0, 0)


def _settled(*events: tuple[str, Outcome, int], offset: int = 0) -> ConsumerState:
    state = None
    for number, (event_id, outcome, at_ms) in enumerate(events):
        failed = outcome is not Outcome.SYNCED
        settled = settlement(
            event_id,
            outcome=outcome,
            reason="CMT-TIMEOUT" if failed else None,
            failures=(FailureCount("pet", "CMT-TIMEOUT"), FailureCount("optIn", "CMT-ROW-INVALID")) if failed else (),
        )
        state = after_settling(state, offset + number, settled, at_ms)
    assert state is not None
    return state


def test_a_consumer_nobody_knows_has_no_view() -> None:
    assert consumer_view("C-1", [], {0: PartitionState(parked={1: ParkedEvent("C-2", "e", 1, 0)})}) is None


def test_the_newest_event_is_the_last_and_the_last_success_keeps_its_time() -> None:
    state = _settled(("e-1", Outcome.SYNCED, 1_795_000_000_000), ("e-2", Outcome.FAILED, 1_795_000_060_000))
    view = consumer_view("C-1", [(2, state)], {})
    assert view is not None
    assert (view["lastEventId"], view["lastOutcome"], view["lastReason"]) == ("e-2", "failed", "CMT-TIMEOUT")
    assert view["lastEntity"] == "pet"  # of the failure that decided
    assert view["lastSyncedAt"] == "2026-11-18T11:06:40.000Z"
    assert [event["eventId"] for event in view["recent"]] == ["e-2", "e-1"]
    assert view["recent"][0] == {
        "eventId": "e-2",
        "operation": "NEW",
        "outcome": "failed",
        "reason": "CMT-TIMEOUT",
        "entity": "pet",
        "attempts": 1,
        "settledAt": "2026-11-18T11:07:40.000Z",
    }


def test_parked_events_are_listed_in_their_order_with_when_they_are_due() -> None:
    state = PartitionState(parked={12: WAITS, 11: PARKED, 13: ParkedEvent("C-2", "other", 1, 0)})
    view = consumer_view("C-1", [], {1: state})
    assert view is not None
    assert view["parked"] == [
        {
            "id": "1-11",
            "eventId": "e-2",
            "attempts": 2,
            "dueAt": "2026-11-18T11:06:41.000Z",
            "reason": "CMT-TIMEOUT",
            "firstFailedAt": "2026-11-18T11:06:40.000Z",
        },
        {"id": "1-12", "eventId": "e-3", "attempts": 0, "dueAt": None, "reason": None, "firstFailedAt": None},
    ]


def test_a_consumer_with_nothing_but_parked_events_is_known() -> None:
    view = consumer_view("C-1", [], {1: PartitionState(parked={11: PARKED})})
    assert view is not None
    assert (view["lastEventId"], view["lastOutcome"], view["lastSyncedAt"], view["recent"]) == (None, None, None, [])


def test_producers_that_disagree_about_partitions_give_one_history() -> None:
    older = _settled(("e-1", Outcome.SYNCED, 1_000), ("e-3", Outcome.SYNCED, 3_000))
    newer = _settled(("e-2", Outcome.FAILED, 2_000), ("e-4", Outcome.SYNCED, 4_000))
    view = consumer_view("C-1", [(0, older), (3, newer)], {})
    assert view is not None
    assert [event["eventId"] for event in view["recent"]] == ["e-4", "e-3", "e-2", "e-1"]
    assert view["lastEventId"] == "e-4"


def test_only_the_last_few_events_are_shown() -> None:
    many = [(f"e-{n}", Outcome.SYNCED, n) for n in range(1, 5)]
    view = consumer_view("C-1", [(0, _settled(*many)), (1, _settled(*[(f"f-{n}", o, n + 10) for _, o, n in many]))], {})
    assert view is not None
    assert [event["eventId"] for event in view["recent"]] == ["f-4", "f-3", "f-2", "f-1", "e-4"]
