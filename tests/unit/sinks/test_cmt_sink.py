"""The Marketing Cloud sink: which calls an event causes, in which order, and what follows when one fails."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from app.delivery.outcome import Attempt, NotPermitted, Outcome, RecordCount, Settle, TryAgain
from app.observe.redaction import hash_consumer
from app.profile.column_types import ColumnType, FieldType
from app.profile.entities import CHILD_TYPES, Catalog, DataExtension, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.projection import expected_rows
from app.profile.outcome_table import decide
from app.profile.plan import Action
from app.profile.samples.samples import sample_events
from app.settings import ConfigurationError, SyncSettings
from app.sinks.cmt import CmtSink
from app.sinks.sink import Permit
from tests.unit.sinks.fake_cmt import CALL_REQUEST, ROW_REQUEST, FakeCmt, NotingPermit

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
TRANSIENT_ROW, TRANSIENT_CALL, PERMANENT = "CMT-ROW-CONTENTION", "CMT-TIMEOUT", "CMT-ROW-INVALID"


def allowed() -> None:
    """A permit that never ends."""


def event(operation: Operation = Operation.NEW, **changes: Any) -> ProfileEvent:
    values: dict[str, Any] = {
        "event_id": "e-1",
        "operation": operation,
        "consumer_id": "c",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": "c", "FirstName": "Jana"},
        "entities": {PET: ({"PetId": "p1"}, {"PetId": "p2"}), CONTACT: ({"ContactId": "k1"},)},
    }
    return ProfileEvent(**{**values, **changes})


NEW, UPDATE = event(), event(Operation.UPDATE)
DELETE_PROFILE = event(Operation.DELETE, consumer=None, entities={}, delete_scope=DeleteScope.PROFILE)
DELETE_ENTITIES = event(Operation.DELETE, consumer=None, delete_scope=DeleteScope.ENTITIES)
RETRIEVES = [f"retrieve {entity} c" for entity in CHILD_TYPES]


def sink(cmt: FakeCmt, batch_size: int = 1, **settings: Any) -> CmtSink:
    return CmtSink(cmt, cmt.catalog, SyncSettings(**settings), batch_size)


async def run(
    cmt: FakeCmt,
    what: ProfileEvent,
    *,
    last: bool = False,
    batch_size: int = 1,
    permit: Permit = allowed,
    **settings: Any,
) -> Attempt:
    return await sink(cmt, batch_size, **settings).apply(what, last_attempt=last, permit=permit)


def counts(attempt: Attempt) -> dict[EntityType, tuple[int, int]]:
    return {record.entity: (record.synced, record.failed) for record in attempt.records}


def codes(attempt: Attempt) -> list[tuple[str, EntityType]]:
    return [(failure.code, failure.entity) for failure in attempt.failures]


def holds(cmt: FakeCmt, *entities: EntityType) -> list[tuple[str, ...]]:
    return [key for entity in entities or EntityType for key in cmt.tables[entity]]


def fill(cmt: FakeCmt) -> None:
    cmt.hold(CONSUMER, ConsumerId="c", LastName="Beispiel")
    cmt.hold(CONTACT, ConsumerId="c", ContactId="k0")
    cmt.hold(PET, ConsumerId="c", PetId="p0")
    cmt.hold(PET, ConsumerId="c", PetId="p1")
    cmt.hold(PET, ConsumerId="another", PetId="p1")


# The calls and their order


async def test_new_posts_the_parent_then_every_row_in_a_call_of_its_own(cmt: FakeCmt) -> None:
    attempt = await run(cmt, NEW)
    assert cmt.log == ["upsert consumer c", "upsert contact c/k1", "upsert pet c/p1", "upsert pet c/p2"]
    assert attempt == Attempt((), (RecordCount(CONSUMER, 1, 0), RecordCount(CONTACT, 1, 0), RecordCount(PET, 2, 0)))


async def test_update_gets_all_rows_then_deletes_them_one_by_one_then_posts(cmt: FakeCmt) -> None:
    fill(cmt)
    attempt = await run(cmt, UPDATE)
    assert cmt.log == [
        *RETRIEVES,
        "delete contact c/k0",
        "delete pet c/p0",
        "delete pet c/p1",
        "upsert consumer c",
        "upsert contact c/k1",
        "upsert pet c/p1",
        "upsert pet c/p2",
    ]
    assert holds(cmt, CONTACT, PET) == [("c", "k1"), ("another", "p1"), ("c", "p1"), ("c", "p2")]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (2, 0)}


async def test_update_keeps_parent_columns_that_it_does_not_name(cmt: FakeCmt) -> None:
    fill(cmt)
    await run(cmt, UPDATE)
    assert cmt.tables[CONSUMER]["c",] == {"ConsumerId": "c", "LastName": "Beispiel", "FirstName": "Jana"}


async def test_update_that_replaces_the_parent_deletes_it_after_the_entity_rows(cmt: FakeCmt) -> None:
    fill(cmt)
    await run(cmt, UPDATE, replace_parent=True)
    assert cmt.log[6:12] == [
        "retrieve consumer c",
        "delete contact c/k0",
        "delete pet c/p0",
        "delete pet c/p1",
        "delete consumer c",
        "upsert consumer c",
    ]
    assert cmt.tables[CONSUMER]["c",] == {"ConsumerId": "c", "FirstName": "Jana"}


async def test_delete_profile_deletes_all_rows_then_the_parent(cmt: FakeCmt) -> None:
    fill(cmt)
    attempt = await run(cmt, DELETE_PROFILE)
    assert cmt.log == [
        *RETRIEVES,
        "retrieve consumer c",
        "delete contact c/k0",
        "delete pet c/p0",
        "delete pet c/p1",
        "delete consumer c",
    ]
    assert holds(cmt) == [("another", "p1")]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (2, 0)}
    # The parent goes last, and stands first: records are listed as entity types are, whatever happened first.
    assert [count.entity for count in attempt.records] == sorted(counts(attempt), key=list(EntityType).index)
    assert attempt.records[0].entity is CONSUMER


async def test_delete_profile_of_an_unknown_consumer_is_synced(cmt: FakeCmt) -> None:
    attempt = await run(cmt, DELETE_PROFILE)
    assert attempt == Attempt((), (RecordCount(CONSUMER, 1, 0),))


async def test_delete_entities_deletes_the_listed_rows_and_counts_those_that_were_gone(cmt: FakeCmt) -> None:
    fill(cmt)
    attempt = await run(cmt, DELETE_ENTITIES)
    assert cmt.log == ["delete contact c/k1", "delete pet c/p1", "delete pet c/p2"]
    assert holds(cmt) == [("c",), ("c", "k0"), ("c", "p0"), ("another", "p1")]
    assert counts(attempt) == {CONTACT: (1, 0), PET: (2, 0)}


async def test_a_found_row_is_deleted_by_exactly_the_key_that_was_returned(cmt: FakeCmt) -> None:
    cmt.hold(PET, PetId="P1 ", ConsumerId="c", Name="x")
    cmt.hold(PET, Name="y", ConsumerId="c", PetId="p1")
    await run(cmt, UPDATE)
    assert [line for line in cmt.log if line.startswith("delete")] == ["delete pet c/P1 ", "delete pet c/p1"]


# The outcome table: (event, what fails) -> outcome, at the last attempt and before; and the calls that are left out

Broken = Callable[[FakeCmt], None]


def row(action: Action, entity: EntityType, code: str, key: tuple[str, ...] | None = None) -> Broken:
    return lambda cmt: cmt.fail_row(action, entity, code, key)


def call(action: Action, entity: EntityType, code: str) -> Broken:
    return lambda cmt: cmt.fail_call(action, entity, code)


BEFORE_PARENT = {
    "get": (Action.RETRIEVE, PET, call),
    "row delete": (Action.DELETE, PET, row),
    "row delete call": (Action.DELETE, PET, call),
}


@pytest.mark.parametrize("place", BEFORE_PARENT)
@pytest.mark.parametrize(("code", "retried"), [(TRANSIENT_CALL, True), (TRANSIENT_ROW, True), (PERMANENT, False)])
@pytest.mark.parametrize("last", [False, True])
async def test_failure_before_the_parent_is_written_fails_the_event_and_nothing_is_posted(
    cmt: FakeCmt, place: str, code: str, retried: bool, last: bool
) -> None:
    fill(cmt)
    action, entity, breaks = BEFORE_PARENT[place]
    breaks(action, entity, code)(cmt)
    attempt = await run(cmt, UPDATE, last=last)
    assert cmt.log[-1] in ("retrieve pet c", "delete pet c/p0")  # and nothing after it
    assert codes(attempt) == [(code, PET)]
    assert counts(attempt) == {PET: (0, 1)}
    decision = decide(attempt, attempts_left=not last)
    if retried and not last:
        assert decision == TryAgain(attempt.failures[0])
    else:
        assert decision == Settle(Outcome.FAILED, attempt.failures[0], dead_letter=True, alert=True)


@pytest.mark.parametrize("operation", [NEW, UPDATE], ids=["NEW", "UPDATE"])
@pytest.mark.parametrize("breaks", [row, call], ids=["row", "call"])
@pytest.mark.parametrize(("code", "retried"), [(TRANSIENT_CALL, True), (TRANSIENT_ROW, True), (PERMANENT, False)])
@pytest.mark.parametrize("last", [False, True])
async def test_failed_parent_post_fails_the_event_and_no_child_is_posted(
    cmt: FakeCmt, operation: ProfileEvent, breaks: Any, code: str, retried: bool, last: bool
) -> None:
    breaks(Action.UPSERT, CONSUMER, code)(cmt)
    attempt = await run(cmt, operation, last=last)
    assert cmt.log[-1] == "upsert consumer c"
    assert counts(attempt) == {CONSUMER: (0, 1)}
    decision = decide(attempt, attempts_left=not last)
    if retried and not last:
        assert decision == TryAgain(attempt.failures[0])
    else:
        assert decision == Settle(Outcome.FAILED, attempt.failures[0], dead_letter=True, alert=True)


@pytest.mark.parametrize("operation", [NEW, UPDATE], ids=["NEW", "UPDATE"])
@pytest.mark.parametrize("last", [False, True])
async def test_permanently_refused_child_is_partial_and_the_others_are_posted(
    cmt: FakeCmt, operation: ProfileEvent, last: bool
) -> None:
    cmt.fail_row(Action.UPSERT, PET, PERMANENT, ("c", "p1"))
    attempt = await run(cmt, operation, last=last)
    assert holds(cmt) == [("c",), ("c", "k1"), ("c", "p2")]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (1, 1)}
    assert decide(attempt, attempts_left=not last) == Settle(Outcome.PARTIAL, attempt.failures[0])
    assert decide(attempt, attempts_left=not last, child_failure_to_dlq=True) == Settle(
        Outcome.PARTIAL, attempt.failures[0], dead_letter=True
    )


@pytest.mark.parametrize("last", [False, True])
async def test_child_refused_for_a_passing_reason_is_tried_again_with_the_others_posted(
    cmt: FakeCmt, last: bool
) -> None:
    cmt.fail_row(Action.UPSERT, CONTACT, TRANSIENT_ROW)
    attempt = await run(cmt, NEW, last=last)
    assert holds(cmt, PET) == [("c", "p1"), ("c", "p2")]
    expected = Settle(Outcome.PARTIAL, attempt.failures[0]) if last else TryAgain(attempt.failures[0])
    assert decide(attempt, attempts_left=not last) == expected


async def test_child_call_that_gets_no_answer_leaves_the_rest_to_the_next_attempt(cmt: FakeCmt) -> None:
    cmt.fail_call(Action.UPSERT, CONTACT, TRANSIENT_CALL)
    attempt = await run(cmt, NEW)
    assert cmt.log == ["upsert consumer c", "upsert contact c/k1"]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (0, 1)}
    assert decide(attempt, attempts_left=True) == TryAgain(attempt.failures[0])


async def test_what_a_call_asks_to_wait_stands_in_its_failure_and_what_may_land_late_in_the_permit(
    cmt: FakeCmt,
) -> None:
    cmt.retry_after, cmt.late_seconds = 7.0, 5.0
    cmt.fail_call(Action.UPSERT, CONSUMER, TRANSIENT_CALL)
    permit = NotingPermit()
    failures = (await run(cmt, NEW, permit=permit)).failures
    assert [failure.retry_after for failure in failures] == [7.0]
    assert permit.late_seconds == 5.0


@pytest.mark.parametrize("whole_call", [False, True])
@pytest.mark.parametrize("batch_size", [1, 10])
async def test_a_failure_names_the_request_of_its_answer(cmt: FakeCmt, whole_call: bool, batch_size: int) -> None:
    fail = cmt.fail_call if whole_call else cmt.fail_row
    fail(Action.UPSERT, PET, PERMANENT)
    failures = (await run(cmt, NEW, batch_size=batch_size)).failures
    assert {failure.request_id for failure in failures} == {CALL_REQUEST if whole_call else ROW_REQUEST}


async def test_a_permit_that_ends_an_attempt_knows_what_may_still_be_carried_out(cmt: FakeCmt) -> None:
    cmt.late_seconds = 5.0
    cmt.fail_call(Action.UPSERT, CONTACT, TRANSIENT_CALL, times=1)
    permit = NotingPermit(calls=2)  # the parent, and the contact that gets no answer
    with pytest.raises(NotPermitted):
        await run(cmt, NEW, last=True, permit=permit)
    assert permit.late_seconds == 5.0


async def test_child_call_that_gets_no_answer_on_the_last_attempt_keeps_no_other_from_being_posted(
    cmt: FakeCmt,
) -> None:
    cmt.fail_call(Action.UPSERT, CONTACT, TRANSIENT_CALL)
    attempt = await run(cmt, NEW, last=True)
    assert holds(cmt) == [("c",), ("c", "p1"), ("c", "p2")]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (0, 1), PET: (2, 0)}
    assert decide(attempt, attempts_left=False) == Settle(Outcome.PARTIAL, attempt.failures[0])


@pytest.mark.parametrize("code", [TRANSIENT_ROW, PERMANENT])
@pytest.mark.parametrize("last", [False, True])
async def test_delete_profile_goes_on_after_a_refused_row_and_keeps_the_parent(
    cmt: FakeCmt, code: str, last: bool
) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, CONTACT, code)
    attempt = await run(cmt, DELETE_PROFILE, last=last)
    assert holds(cmt) == [("c",), ("c", "k0"), ("another", "p1")]
    assert counts(attempt) == {CONTACT: (0, 1), PET: (2, 0)}
    decision = decide(attempt, attempts_left=not last)
    if code is TRANSIENT_ROW and not last:
        assert decision == TryAgain(attempt.failures[0])
    else:
        assert decision == Settle(Outcome.FAILED, attempt.failures[0], dead_letter=True, alert=True)


@pytest.mark.parametrize(
    ("code", "last", "still_deleted"),
    [(TRANSIENT_CALL, False, False), (TRANSIENT_CALL, True, True), ("CMT-RETRIEVE-ERROR", False, True)],
)
async def test_delete_profile_keeps_the_parent_when_the_rows_of_an_entity_cannot_be_found(
    cmt: FakeCmt, code: str, last: bool, still_deleted: bool
) -> None:
    fill(cmt)
    cmt.fail_call(Action.RETRIEVE, CONTACT, code)
    attempt = await run(cmt, DELETE_PROFILE, last=last)
    assert ("c",) in holds(cmt, CONSUMER)
    assert ("c", "k0") in holds(cmt, CONTACT)
    assert (("c", "p0") not in holds(cmt, PET)) == still_deleted
    assert counts(attempt) == {CONTACT: (0, 1), **({PET: (2, 0)} if still_deleted else {})}


@pytest.mark.parametrize("code", [TRANSIENT_ROW, TRANSIENT_CALL, PERMANENT])
async def test_failed_delete_of_the_parent_fails_the_event(cmt: FakeCmt, code: str) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, CONSUMER, code)
    attempt = await run(cmt, DELETE_PROFILE, last=True)
    assert counts(attempt) == {CONSUMER: (0, 1), CONTACT: (1, 0), PET: (2, 0)}
    assert decide(attempt, attempts_left=False) == Settle(Outcome.FAILED, attempt.failures[0], True, True)


@pytest.mark.parametrize("code", [TRANSIENT_ROW, PERMANENT])
@pytest.mark.parametrize("last", [False, True])
async def test_delete_entities_deletes_the_other_rows_and_fails(cmt: FakeCmt, code: str, last: bool) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, CONTACT, code)
    attempt = await run(cmt, DELETE_ENTITIES, last=last)
    assert ("c", "p1") not in holds(cmt, PET)
    assert counts(attempt) == {CONTACT: (0, 1), PET: (2, 0)}
    retried = code is TRANSIENT_ROW and not last
    assert isinstance(decide(attempt, attempts_left=not last), TryAgain if retried else Settle)


async def test_repeating_an_attempt_that_broke_off_ends_with_the_right_rows(cmt: FakeCmt, catalog: Catalog) -> None:
    fill(cmt)
    cmt.fail_call(Action.UPSERT, PET, TRANSIENT_CALL, times=1)
    first = await run(cmt, UPDATE)
    again = await run(cmt, UPDATE)
    assert (len(first.failures), again.failures) == (1, ())
    assert holds(cmt, CONTACT, PET) == [("c", "k1"), ("another", "p1"), ("c", "p1"), ("c", "p2")]
    assert counts(again) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (2, 0)}


# Batches


async def test_batch_holds_consecutive_rows_of_one_phase_and_the_parent_goes_alone(cmt: FakeCmt) -> None:
    fill(cmt)
    await run(cmt, UPDATE, batch_size=2, replace_parent=True)
    assert cmt.log[7:] == [
        "delete contact c/k0, pet c/p0",
        "delete pet c/p1",
        "delete consumer c",
        "upsert consumer c",
        "upsert contact c/k1, pet c/p1",
        "upsert pet c/p2",
    ]


async def test_in_a_batch_every_row_has_its_own_result(cmt: FakeCmt) -> None:
    cmt.fail_row(Action.UPSERT, PET, PERMANENT, ("c", "p1"))
    attempt = await run(cmt, NEW, batch_size=50)
    assert cmt.log == ["upsert consumer c", "upsert contact c/k1, pet c/p1, pet c/p2"]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (1, 1)}
    assert codes(attempt) == [(PERMANENT, PET)]


async def test_failed_batch_call_fails_each_of_its_rows(cmt: FakeCmt) -> None:
    cmt.fail_call(Action.UPSERT, PET, TRANSIENT_CALL)
    attempt = await run(cmt, NEW, batch_size=50)
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (0, 1), PET: (0, 2)}
    assert codes(attempt) == [(TRANSIENT_CALL, CONTACT), (TRANSIENT_CALL, PET), (TRANSIENT_CALL, PET)]


async def test_update_with_a_refused_delete_in_a_batch_posts_nothing(cmt: FakeCmt) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, CONTACT, PERMANENT)
    attempt = await run(cmt, UPDATE, batch_size=50, replace_parent=True)
    assert cmt.log[7:] == ["delete contact c/k0, pet c/p0, pet c/p1"]
    assert counts(attempt) == {CONTACT: (0, 1)}


async def test_delete_profile_in_batches_keeps_the_parent_when_a_row_is_refused(cmt: FakeCmt) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, PET, PERMANENT, ("c", "p1"))
    await run(cmt, DELETE_PROFILE, batch_size=50)
    assert holds(cmt) == [("c",), ("c", "p1"), ("another", "p1")]


# As a whole


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
@pytest.mark.parametrize("replace_parent", [False, True])
async def test_after_a_stream_of_events_the_rows_are_those_that_are_expected(
    cmt: FakeCmt, catalog: Catalog, batch_size: int, replace_parent: bool
) -> None:
    events = list(sample_events(400, seed=5, consumers=30))
    for one in events:
        attempt = await run(cmt, one, batch_size=batch_size, replace_parent=replace_parent)
        assert attempt.failures == ()
    assert cmt.tables == expected_rows(events, catalog, replace_parent=replace_parent)


@pytest.mark.parametrize("batch_size", [1, 4])
async def test_events_that_are_tried_until_they_are_synced_leave_the_expected_rows(
    cmt: FakeCmt, catalog: Catalog, batch_size: int
) -> None:
    rng = random.Random(1)
    events = list(sample_events(200, seed=6, consumers=10))
    tries = 0
    for one in events:
        while True:
            tries += 1
            cmt.heal()
            if rng.random() < 0.7:
                action, entity = rng.choice(list(Action)), rng.choice(list(EntityType))
                rng.choice([cmt.fail_row, cmt.fail_call])(action, entity, rng.choice([TRANSIENT_ROW, TRANSIENT_CALL]))
            attempt = await run(cmt, one, batch_size=batch_size)
            if not attempt.failures:
                break
    assert tries > len(events) * 1.2
    assert cmt.tables == expected_rows(events, catalog)


async def test_every_row_of_an_event_is_counted_once_when_all_goes_well(cmt: FakeCmt) -> None:
    for one in sample_events(200, seed=8, consumers=20):
        attempt = await run(cmt, one, batch_size=3)
        if one.operation is not Operation.DELETE:
            assert sum(record.synced for record in attempt.records) == 1 + len(one.rows())
        elif one.delete_scope is DeleteScope.ENTITIES:
            assert sum(record.synced for record in attempt.records) == len(one.rows())
        assert not any(record.failed for record in attempt.records)


# Permits, bugs, settings


class Lost(Exception):
    """The partition has a new owner."""


@pytest.mark.parametrize("calls", range(13))
async def test_a_lost_partition_ends_the_attempt_before_the_next_call_goes_out(cmt: FakeCmt, calls: int) -> None:
    fill(cmt)

    def permit() -> None:
        if len(cmt.calls) >= calls:
            raise Lost

    with pytest.raises(Lost):
        await sink(cmt).apply(UPDATE, last_attempt=True, permit=permit)
    assert len(cmt.calls) == calls


async def test_an_error_that_is_none_of_the_targets_is_not_swallowed(cmt: FakeCmt) -> None:
    broken = event(entities={PET: ({"Name": "no key"},)})
    with pytest.raises(KeyError):
        await run(cmt, broken)


def test_settings_that_contradict_each_other_are_refused_at_the_start(cmt: FakeCmt) -> None:
    with pytest.raises(ConfigurationError, match="SYNC_REPLACE_PARENT=true needs SYNC_STRATEGY=replace"):
        sink(cmt, strategy="reconcile", replace_parent=True)


# Dry run


async def test_dry_run_reads_and_reports_as_written_but_writes_nothing(cmt: FakeCmt) -> None:
    fill(cmt)
    before = holds(cmt)
    attempt = await run(cmt, UPDATE, dry_run=True)
    assert cmt.log == RETRIEVES
    assert holds(cmt) == before
    assert attempt == Attempt((), (RecordCount(CONSUMER, 1, 0), RecordCount(CONTACT, 1, 0), RecordCount(PET, 2, 0)))


async def test_dry_run_logs_each_write_without_a_value(cmt: FakeCmt) -> None:
    fill(cmt)
    secret = event(Operation.UPDATE, consumer={"ConsumerId": "c", "FirstName": "Beispielname"})
    with structlog.testing.capture_logs() as logs:
        await run(cmt, secret, dry_run=True, batch_size=50)
    assert [(line["action"], line["data_extension"]) for line in logs] == [
        *[("delete", "CMT_Contact"), ("delete", "CMT_Pet"), ("delete", "CMT_Pet")],
        *[("upsert", "CMT_Consumer"), ("upsert", "CMT_Contact"), ("upsert", "CMT_Pet"), ("upsert", "CMT_Pet")],
    ]
    assert logs[3]["columns"] == ["ConsumerId", "FirstName"]
    assert len({line["key_hash"] for line in logs}) == 6  # p1 is deleted and posted
    for value in ("Beispielname", "k0", "k1", "p0", "p1", "p2"):
        assert value not in str([{**line, "key_hash": ""} for line in logs])


async def test_a_dry_run_says_whose_event_would_be_written(cmt: FakeCmt) -> None:
    mine = event(Operation.NEW, consumer={"ConsumerId": "c"})
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await run(cmt, mine, dry_run=True)
    assert logs
    for line in logs:
        assert (line["event_id"], line["market"], line["operation"]) == (mine.event_id, mine.market, "NEW")
        assert line["consumer"] == hash_consumer(mine.consumer_id)


async def test_dry_run_asks_for_the_permit_before_each_write(cmt: FakeCmt) -> None:
    asked: list[int] = []
    await sink(cmt, dry_run=True).apply(NEW, last_attempt=False, permit=lambda: asked.append(1))
    assert len(asked) == 4


async def test_no_call_has_a_key_twice_in_whatever_spelling(cmt: FakeCmt) -> None:
    pets = ({"PetId": "p1", "Name": "A"}, {"PetId": "p2"}, {"PetId": "P1 ", "Name": "B"})
    await run(cmt, event(Operation.NEW, entities={PET: pets}), batch_size=50)
    assert cmt.log == ["upsert consumer c", "upsert pet c/p1, pet c/p2", "upsert pet c/P1 "]
    assert cmt.tables[PET]["c", "p1"]["Name"] == "B"


# A consumer ID in another spelling is another consumer's


@pytest.mark.parametrize("operation", [Operation.UPDATE, Operation.DELETE])
@pytest.mark.parametrize("settings", [{}, {"strategy": "reconcile"}, {"replace_parent": True}])
@pytest.mark.parametrize("other", ["C", "c "])
async def test_rows_of_a_consumer_id_in_another_spelling_are_not_touched(
    cmt: FakeCmt, operation: Operation, settings: dict[str, Any], other: str
) -> None:
    fill(cmt)
    cmt.tables[CONSUMER].clear()
    cmt.hold(CONTACT, ConsumerId=other, ContactId="x")
    before = {entity: dict(rows) for entity, rows in cmt.tables.items()}
    what = DELETE_PROFILE if operation is Operation.DELETE else UPDATE
    attempt = await run(cmt, what, **settings)
    assert ("CMT-CONSUMER-SPELLING", CONTACT) in codes(attempt)
    assert decide(attempt, attempts_left=True) == Settle(Outcome.FAILED, attempt.failures[0], True, True)
    assert cmt.tables[CONTACT] == before[CONTACT]
    if what is UPDATE:
        assert cmt.tables == before


async def test_a_parent_row_of_a_consumer_id_in_another_spelling_is_not_deleted(cmt: FakeCmt) -> None:
    cmt.hold(CONSUMER, ConsumerId="C")
    attempt = await run(cmt, DELETE_PROFILE)
    assert codes(attempt) == [("CMT-CONSUMER-SPELLING", CONSUMER)]
    assert holds(cmt) == [("C",)]


async def test_a_parent_row_is_deleted_by_the_key_that_was_returned(cmt: FakeCmt) -> None:
    table = DataExtension("Kunden", ("Market", "ConsumerId"), ("ConsumerId", "Market"))
    other = FakeCmt(Catalog({**cmt.catalog.data_extensions, CONSUMER: table}))
    other.hold(CONSUMER, ConsumerId="c", Market="DE")
    await run(other, DELETE_PROFILE)
    assert holds(other) == []


# A key with a Date


def dated(cmt: FakeCmt) -> FakeCmt:
    """Pets whose key has a date with a fraction of a second, which is not returned."""
    table = cmt.catalog[PET]
    key = replace(table, primary_key=("ConsumerId", "BirthDate"), types={"BirthDate": ColumnType(FieldType.DATE)})
    other = FakeCmt(Catalog({**cmt.catalog.data_extensions, PET: key}))
    other.hold(PET, ConsumerId="c", BirthDate="2026-09-21 14:05:00.5")
    other.returned = {"2026-09-21 14:05:00.5": "9/21/2026 2:05:00 PM"}
    return other


@pytest.mark.parametrize("what", [UPDATE, DELETE_PROFILE], ids=["UPDATE", "DELETE"])
@pytest.mark.parametrize("batch_size", [1, 50])
async def test_a_row_that_its_delete_did_not_find_is_a_failure(
    cmt: FakeCmt, what: ProfileEvent, batch_size: int
) -> None:
    other = dated(cmt)
    attempt = await run(other, what.model_copy(update={"entities": {}}), batch_size=batch_size)
    assert codes(attempt) == [("CMT-ROW-KEPT", PET)]
    assert decide(attempt, attempts_left=True) == Settle(Outcome.FAILED, attempt.failures[0], True, True)
    assert not any(call.startswith(("delete consumer", "upsert")) for call in other.log)


async def test_a_row_with_a_date_in_its_key_that_is_gone_is_synced(cmt: FakeCmt) -> None:
    other = dated(cmt)
    other.returned.clear()
    attempt = await run(other, DELETE_PROFILE)
    assert (attempt.failures, holds(other)) == ((), [])
    assert other.log.count("retrieve pet c") == 2


async def test_a_delete_is_not_verified_while_types_are_not_known_or_in_a_dry_run(cmt: FakeCmt) -> None:
    other = dated(cmt)
    assert (await run(other, DELETE_PROFILE, dry_run=True)).failures == ()
    fill(cmt)
    await run(cmt, DELETE_PROFILE)
    assert cmt.log.count("retrieve pet c") == 1
