"""A right that is missing at one data extension costs a child; one that is missing as a whole makes an event wait."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.cmt.canary import PROBE_CONSUMER_ID
from app.cmt.results import RowResult
from app.delivery.outcome import Attempt, Outcome, Phase, Settle, TryAgain
from app.profile.entities import Catalog, EntityType, Row
from app.profile.event import Operation, ProfileEvent
from app.profile.outcome_table import decide
from app.profile.plan import Action
from app.settings import SyncSettings
from app.sinks.cmt import CmtSink
from tests.unit.sinks.fake_cmt import FakeCmt, NotingPermit

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
CHILDREN = (CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN)
DENIED, BLOCKED = "CMT-PERMISSION", "CMT-NOT-ALLOWED"
Rows = Sequence[tuple[EntityType, Row]]
STRATEGIES = ["replace", "reconcile"]


def event(operation: Operation, **changes: object) -> ProfileEvent:
    values: dict[str, object] = {
        "event_id": "e-1",
        "operation": operation,
        "consumer_id": "c-1",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": "c-1", "FirstName": "Jana"},
        "entities": {CONTACT: ({"ContactId": "k-1", "Value": "x"},), PET: ({"PetId": "p-1", "Name": "Bello"},)},
    }
    return ProfileEvent(**{**values, **changes})  # type: ignore[arg-type]


NEW, UPDATE = event(Operation.NEW), event(Operation.UPDATE)
DELETE = event(Operation.DELETE, consumer=None, entities={}, delete_scope="PROFILE")


async def run(cmt: FakeCmt, catalog: Catalog, what: ProfileEvent, strategy: str, *, last: bool = False) -> Attempt:
    sink = CmtSink(cmt, catalog, SyncSettings(strategy=strategy, breaker_alert_seconds=0))  # type: ignore[arg-type]
    return await sink.apply(what, last_attempt=last, permit=lambda: None)  # type: ignore[arg-type]


def held(cmt: FakeCmt) -> None:
    cmt.hold(CONSUMER, ConsumerId="c-1")
    cmt.hold(CONTACT, ConsumerId="c-1", ContactId="old")
    cmt.hold(PET, ConsumerId="c-1", PetId="old")


def codes(attempt: Attempt) -> list[tuple[str, EntityType]]:
    return [(failure.code, failure.entity) for failure in attempt.failures]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("what", [NEW, UPDATE], ids=["NEW", "UPDATE"])
async def test_a_childs_data_extension_that_may_not_be_written_makes_the_event_partial(
    cmt: FakeCmt, catalog: Catalog, what: ProfileEvent, strategy: str
) -> None:
    held(cmt)
    for action in (Action.UPSERT, Action.DELETE):
        cmt.fail_row(action, PET, DENIED)
    attempt = await run(cmt, catalog, what, strategy)
    assert {code for code, _ in codes(attempt)} == {DENIED}
    decision = decide(attempt, attempts_left=True)
    assert isinstance(decision, Settle)
    assert decision.outcome is Outcome.PARTIAL
    assert ("c-1", "k-1") in cmt.tables[CONTACT], "the rest is written"
    assert "CMT_Pet" in attempt.failures[0].message


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_childs_data_extension_that_may_not_be_read_makes_an_update_partial(
    cmt: FakeCmt, catalog: Catalog, strategy: str
) -> None:
    held(cmt)
    cmt.fail_call(Action.RETRIEVE, PET, DENIED)
    attempt = await run(cmt, catalog, UPDATE, strategy)
    assert codes(attempt) == [(DENIED, PET)]
    assert attempt.failures[0].phase is Phase.CHILD
    decision = decide(attempt, attempts_left=True)
    assert isinstance(decision, Settle)
    assert decision.outcome is Outcome.PARTIAL
    assert set(cmt.tables[CONTACT]) == {("c-1", "k-1")}
    assert set(cmt.tables[PET]) == {("c-1", "old"), ("c-1", "p-1")}, "nobody knows what to delete"


@pytest.mark.parametrize("action", [Action.RETRIEVE, Action.DELETE])
async def test_an_erasure_that_a_childs_data_extension_does_not_allow_has_failed(
    cmt: FakeCmt, catalog: Catalog, action: Action
) -> None:
    held(cmt)
    cmt.fail_call(action, PET, DENIED)
    attempt = await run(cmt, catalog, DELETE, "replace")
    decision = decide(attempt, attempts_left=True)
    assert isinstance(decision, Settle)
    assert (decision.outcome, decision.dead_letter, decision.alert) == (Outcome.FAILED, True, True)
    assert cmt.tables[CONTACT] == {}, "as much as possible is erased"
    assert cmt.tables[CONSUMER], "the parent stays"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("what", [UPDATE, DELETE], ids=["UPDATE", "DELETE"])
async def test_without_the_right_to_read_nothing_is_written_and_the_event_waits(
    cmt: FakeCmt, catalog: Catalog, what: ProfileEvent, strategy: str
) -> None:
    held(cmt)
    for entity in EntityType:
        cmt.fail_call(Action.RETRIEVE, entity, DENIED)
    attempt = await run(cmt, catalog, what, strategy)
    assert BLOCKED in {code for code, _ in codes(attempt)}
    assert isinstance(decide(attempt, attempts_left=True), TryAgain)
    assert {call.action for call in cmt.calls} == {Action.RETRIEVE}
    parent_was_read = strategy == "reconcile" or what is DELETE
    assert (f"retrieve consumer {PROBE_CONSUMER_ID}" in cmt.log) is not parent_was_read


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("what", [NEW, UPDATE, DELETE], ids=["NEW", "UPDATE", "DELETE"])
async def test_without_the_right_to_write_the_event_waits(
    cmt: FakeCmt, catalog: Catalog, what: ProfileEvent, strategy: str
) -> None:
    held(cmt)
    before = {entity: dict(table) for entity, table in cmt.tables.items()}
    for entity in EntityType:
        for action in (Action.UPSERT, Action.DELETE):
            cmt.fail_call(action, entity, DENIED)
    attempt = await run(cmt, catalog, what, strategy)
    assert BLOCKED in {code for code, _ in codes(attempt)}
    assert isinstance(decide(attempt, attempts_left=True), TryAgain)
    assert cmt.tables == before


async def test_whether_a_right_is_missing_as_a_whole_is_asked_only_if_nothing_has_shown_it_since(
    cmt: FakeCmt, catalog: Catalog
) -> None:
    held(cmt)
    cmt.fail_call(Action.RETRIEVE, PET, DENIED)
    await run(cmt, catalog, UPDATE, "replace")
    assert not any(PROBE_CONSUMER_ID in line for line in cmt.log), "other children were read after it"
    cmt.heal()
    cmt.fail_call(Action.RETRIEVE, OPT_IN, DENIED)
    await run(cmt, catalog, UPDATE, "replace")
    assert [line for line in cmt.log if PROBE_CONSUMER_ID in line] == [f"retrieve consumer {PROBE_CONSUMER_ID}"], (
        "what was read before it"
    )
    cmt.heal()
    cmt.calls.clear()
    cmt.fail_call(Action.DELETE, PET, DENIED)
    cmt.tables[CONTACT].clear()
    await run(cmt, catalog, DELETE, "replace")
    assert [line for line in cmt.log if PROBE_CONSUMER_ID in line] == [f"delete consumer {PROBE_CONSUMER_ID}"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("action", [Action.RETRIEVE, Action.UPSERT, Action.DELETE])
async def test_a_right_that_is_back_at_the_next_question_costs_no_child(
    cmt: FakeCmt, catalog: Catalog, action: Action, strategy: str
) -> None:
    held(cmt)
    what = DELETE if action is Action.DELETE else UPDATE
    cmt.fail_call(action, PET, DENIED, times=1)
    attempt = await run(cmt, catalog, what, strategy)
    assert codes(attempt) == [(BLOCKED, PET)], "the event is tried again"
    attempt = await run(cmt, catalog, what, strategy)
    assert codes(attempt) == []
    assert set(cmt.tables[PET]) == (set() if what is DELETE else {("c-1", "p-1")})


async def test_a_denial_counts_as_the_childs_own_only_when_nothing_was_allowed_for_a_while(
    cmt: FakeCmt, catalog: Catalog
) -> None:
    """A change of rights reaches one server of Marketing Cloud after the other."""
    held(cmt)
    now = 100.0
    sink = CmtSink(cmt, catalog, SyncSettings(breaker_alert_seconds=60), clock=lambda: now)

    async def again(*, denied: bool) -> list[tuple[str, EntityType]]:
        cmt.heal()
        if denied:
            cmt.fail_call(Action.UPSERT, PET, DENIED)
        return codes(await sink.apply(UPDATE, last_attempt=False, permit=lambda: None))  # type: ignore[arg-type]

    assert await again(denied=True) == [(BLOCKED, PET)]
    now += 29.0
    assert await again(denied=True) == [(BLOCKED, PET)]
    assert await again(denied=False) == [], "another server"
    now += 29.0
    assert await again(denied=True) == [(BLOCKED, PET)]
    now += 30.0
    assert await again(denied=True) == [(DENIED, PET)]
    assert await again(denied=True) == [(DENIED, PET)], "known by now"


async def test_without_a_breaker_nothing_waits_for_rights(cmt: FakeCmt, catalog: Catalog) -> None:
    held(cmt)
    cmt.fail_call(Action.UPSERT, PET, DENIED)
    sink = CmtSink(cmt, catalog, SyncSettings(breaker_failures=0))
    attempt = await sink.apply(UPDATE, last_attempt=False, permit=lambda: None)  # type: ignore[arg-type]
    assert codes(attempt) == [(DENIED, PET)]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_one_row_that_is_refused_for_good_costs_only_itself(
    cmt: FakeCmt, catalog: Catalog, strategy: str
) -> None:
    held(cmt)
    pets = ({"PetId": "p-1", "Name": "Bello"}, {"PetId": "p-2", "Name": "Rex"})
    cmt.fail_row(Action.UPSERT, PET, DENIED, key=("c-1", "p-1"))
    attempt = await run(cmt, catalog, event(Operation.UPDATE, entities={PET: pets}), strategy)
    assert codes(attempt) == [(DENIED, PET)]
    assert ("c-1", "p-2") in cmt.tables[PET]


async def test_a_question_without_an_answer_makes_the_next_attempt_wait_for_what_is_late(
    cmt: FakeCmt, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(cmt)
    cmt.late_seconds = 12.0
    cmt.fail_row(Action.UPSERT, PET, DENIED, times=1)
    upsert = cmt.upsert

    async def unanswered_from_the_second_on(rows: Rows, *, permit: NotingPermit) -> list[RowResult]:
        try:
            return await upsert(rows, permit=permit)
        finally:
            if rows[0][0] is PET:
                cmt.fail_call(Action.UPSERT, PET, "CMT-TIMEOUT")

    monkeypatch.setattr(cmt, "upsert", unanswered_from_the_second_on)
    sink, permit = CmtSink(cmt, catalog, SyncSettings(breaker_alert_seconds=0)), NotingPermit()
    attempt = await sink.apply(UPDATE, last_attempt=False, permit=permit)
    assert codes(attempt) == [("CMT-TIMEOUT", PET)]
    assert permit.late_seconds == 12.0


@pytest.mark.parametrize("what", [UPDATE, DELETE], ids=["UPDATE", "DELETE"])
async def test_when_that_cannot_be_found_out_the_event_is_tried_again(
    cmt: FakeCmt, catalog: Catalog, what: ProfileEvent
) -> None:
    held(cmt)
    for entity in CHILDREN:
        cmt.fail_call(Action.RETRIEVE, entity, DENIED)
    cmt.fail_call(Action.RETRIEVE, CONSUMER, "CMT-UNAVAILABLE", request_id="asked-last")
    attempt = await run(cmt, catalog, what, "replace")
    assert {code for code, _ in codes(attempt)} == {"CMT-UNAVAILABLE"}
    assert {failure.request_id for failure in attempt.failures} == {"asked-last"}
    assert isinstance(decide(attempt, attempts_left=True), TryAgain)
