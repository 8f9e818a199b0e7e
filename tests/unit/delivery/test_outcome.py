"""The outcome table of an event, cell by cell, on the decision itself."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.errors import REGISTRY, ErrorClass
from app.delivery.outcome import Attempt, Failure, Outcome, Phase, Settle, TryAgain
from app.profile.entities import EntityType
from app.profile.outcome_table import decide, stops_attempt

TRANSIENT_CALL, TRANSIENT_ROW, PERMANENT = "CMT-TIMEOUT", "CMT-ROW-CONTENTION", "CMT-ROW-INVALID"
RETRIED = (TRANSIENT_CALL, TRANSIENT_ROW, "CMT-RATE-LIMITED", "CMT-AUTH")


def failure(code: str, phase: Phase) -> Failure:
    entity = EntityType.CONSUMER if phase is Phase.PARENT else EntityType.PET
    return Failure(code, "masked", entity, phase)


def after(*failures: Failure, left: bool = True, to_dlq: bool = False) -> TryAgain | Settle:
    return decide(Attempt(failures), attempts_left=left, child_failure_to_dlq=to_dlq)


def test_no_failure_is_synced_whether_or_not_attempts_are_left() -> None:
    assert after() == after(left=False) == Settle(Outcome.SYNCED)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("code", RETRIED)
def test_what_may_pass_is_tried_again_while_attempts_are_left(phase: Phase, code: str) -> None:
    assert after(failure(code, phase)) == TryAgain(failure(code, phase))


@pytest.mark.parametrize("phase", [Phase.BEFORE_PARENT, Phase.PARENT, Phase.DELETE])
@pytest.mark.parametrize("code", [*RETRIED, PERMANENT])
def test_with_no_attempt_left_it_fails_with_a_dead_letter_and_an_alert(phase: Phase, code: str) -> None:
    one = failure(code, phase)
    assert after(one, left=False) == Settle(Outcome.FAILED, one, dead_letter=True, alert=True)


@pytest.mark.parametrize("phase", [Phase.BEFORE_PARENT, Phase.PARENT, Phase.DELETE])
def test_permanent_failure_is_not_tried_again(phase: Phase) -> None:
    one = failure(PERMANENT, phase)
    assert after(one) == Settle(Outcome.FAILED, one, dead_letter=True, alert=True)


@pytest.mark.parametrize(("code", "left"), [(PERMANENT, True), (PERMANENT, False), (TRANSIENT_CALL, False)])
def test_child_failure_is_partial_without_a_dead_letter(code: str, left: bool) -> None:
    one = failure(code, Phase.CHILD)
    assert after(one, left=left) == Settle(Outcome.PARTIAL, one)


@pytest.mark.parametrize(("code", "left"), [(PERMANENT, True), (PERMANENT, False), (TRANSIENT_CALL, False)])
def test_child_failure_may_be_made_a_dead_letter_and_still_alerts_nobody(code: str, left: bool) -> None:
    one = failure(code, Phase.CHILD)
    assert after(one, left=left, to_dlq=True) == Settle(Outcome.PARTIAL, one, dead_letter=True)


def test_permanent_child_failure_seals_nothing_a_sibling_is_tried_again() -> None:
    refused, passing = failure(PERMANENT, Phase.CHILD), failure(TRANSIENT_ROW, Phase.CHILD)
    assert after(refused, passing) == TryAgain(passing)
    assert after(refused, passing, left=False) == Settle(Outcome.PARTIAL, refused)


def test_of_several_waits_the_longest_counts() -> None:
    passing = failure(TRANSIENT_ROW, Phase.CHILD)
    late, throttled = (
        replace(failure(code, Phase.CHILD), retry_after=seconds)
        for code, seconds in ((TRANSIENT_CALL, 30.0), ("CMT-RATE-LIMITED", 7.0))
    )
    assert after(passing, late, throttled) == TryAgain(replace(passing, retry_after=30.0))
    assert after(passing) == TryAgain(passing)


def test_permanent_failure_of_a_delete_seals_the_event_whatever_else_may_pass() -> None:
    passing, refused = failure(TRANSIENT_ROW, Phase.DELETE), failure(PERMANENT, Phase.DELETE)
    assert after(passing, refused) == Settle(Outcome.FAILED, refused, dead_letter=True, alert=True)


@given(
    st.lists(st.builds(failure, st.sampled_from(sorted(REGISTRY)), st.sampled_from(Phase)), max_size=6),
    st.booleans(),
    st.booleans(),
)
def test_every_attempt_has_one_consistent_decision(failures: list[Failure], left: bool, to_dlq: bool) -> None:
    decision = after(*failures, left=left, to_dlq=to_dlq)
    if isinstance(decision, TryAgain):
        assert left
        assert decision.failure.retried
        return
    assert decision.outcome in (Outcome.SYNCED, Outcome.PARTIAL, Outcome.FAILED)
    assert (decision.outcome is Outcome.SYNCED) == (not failures) == (decision.failure is None)
    assert decision.alert == (decision.outcome is Outcome.FAILED)
    assert decision.alert <= decision.dead_letter
    if decision.outcome is Outcome.PARTIAL:
        assert all(one.phase is Phase.CHILD for one in failures)
        assert decision.dead_letter == to_dlq


# What is left out after a failure: {phase: {(code, last attempt)}} that stop the attempt

STOPS = {
    **{
        phase: {(code, last) for code in (TRANSIENT_CALL, TRANSIENT_ROW, PERMANENT) for last in (False, True)}
        for phase in (Phase.BEFORE_PARENT, Phase.PARENT)
    },
    Phase.CHILD: {(TRANSIENT_CALL, False)},
    Phase.DELETE: {(TRANSIENT_CALL, False)},
}


@pytest.mark.parametrize(
    ("phase", "code", "last"), list(itertools.product(Phase, (TRANSIENT_CALL, TRANSIENT_ROW, PERMANENT), (False, True)))
)
def test_which_failures_end_an_attempt(phase: Phase, code: str, last: bool) -> None:
    assert stops_attempt(failure(code, phase), last_attempt=last) == ((code, last) in STOPS[phase])


def test_a_stopped_attempt_is_never_partial_while_attempts_are_left() -> None:
    """Children that were left out must get their attempt: stopping in their phase implies trying again."""
    for code in REGISTRY:
        one = failure(code, Phase.CHILD)
        if stops_attempt(one, last_attempt=False):
            assert after(one) == TryAgain(one)


@pytest.mark.parametrize("error_class", ErrorClass)
def test_which_classes_are_tried_again(error_class: ErrorClass) -> None:
    assert error_class.retried == (error_class in (ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.AUTH))
