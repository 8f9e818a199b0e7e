"""The Marketing Cloud sink with strategy ``reconcile``: which calls are needed, and what follows when one fails."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from app.delivery.outcome import Attempt, Outcome, RecordCount, Settle, TryAgain
from app.profile.entities import CHILD_TYPES, Catalog, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.projection import Rows, expected_rows
from app.profile.keys import folded, folded_key
from app.profile.outcome_table import decide
from app.profile.plan import Action
from app.profile.samples.samples import sample_events
from app.settings import SyncSettings
from app.sinks.cmt import CmtSink
from app.sinks.parents import SeenParents
from tests.support.examples import examples
from tests.unit.sinks.fake_cmt import FakeCmt

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
TRANSIENT_ROW, TRANSIENT_CALL, PERMANENT = "CMT-ROW-CONTENTION", "CMT-TIMEOUT", "CMT-ROW-INVALID"
RETRIEVES = [f"retrieve {entity} c" for entity in CHILD_TYPES]
ALL_RETRIEVES = ["retrieve consumer c", *RETRIEVES]


def allowed() -> None:
    """A permit that never ends."""


def event(operation: Operation = Operation.UPDATE, **changes: Any) -> ProfileEvent:
    values: dict[str, Any] = {
        "event_id": "e-1",
        "operation": operation,
        "consumer_id": "c",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": "c", "FirstName": "Jana"},
        "entities": {PET: ({"PetId": "p1", "Name": "Bello"}, {"PetId": "p2"}), CONTACT: ({"ContactId": "k1"},)},
    }
    return ProfileEvent(**{**values, **changes})


UPDATE, NEW = event(), event(Operation.NEW)
DELETE_PROFILE = event(Operation.DELETE, consumer=None, entities={}, delete_scope=DeleteScope.PROFILE)
DELETE_ENTITIES = event(Operation.DELETE, consumer=None, delete_scope=DeleteScope.ENTITIES)


def sink(cmt: FakeCmt, batch_size: int = 1, **options: Any) -> CmtSink:
    return CmtSink(cmt, cmt.catalog, SyncSettings(**{"strategy": "reconcile", **options}), batch_size)


async def run(cmt: FakeCmt, what: ProfileEvent, *, last: bool = False, batch_size: int = 1, **options: Any) -> Attempt:
    return await sink(cmt, batch_size, **options).apply(what, last_attempt=last, permit=allowed)


def counts(attempt: Attempt) -> dict[EntityType, tuple[int, int]]:
    return {record.entity: (record.synced, record.failed) for record in attempt.records}


def writes(cmt: FakeCmt) -> list[str]:
    return [line for line in cmt.log if not line.startswith("retrieve")]


def fill(cmt: FakeCmt) -> None:
    """As after ``UPDATE``, but pet p1 has another name, p2 is missing, and two rows should not be there."""
    cmt.hold(CONSUMER, ConsumerId="c", FirstName="Jana", LastName="Beispiel")
    cmt.hold(CONTACT, ConsumerId="c", ContactId="k0")
    cmt.hold(CONTACT, ConsumerId="c", ContactId="k1")
    cmt.hold(PET, ConsumerId="c", PetId="p0")
    cmt.hold(PET, ConsumerId="c", PetId="p1", Name="Rex", Breed="Dackel")
    cmt.hold(PET, ConsumerId="another", PetId="p1")


def holds(cmt: FakeCmt, *entities: EntityType) -> list[tuple[str, ...]]:
    return [key for entity in entities or EntityType for key in cmt.tables[entity]]


def without_nulls(rows: Rows) -> dict[EntityType, dict[tuple[str, ...], dict[str, str]]]:
    """A column that was never set and one that was set to null are alike, and so are two spellings of a key."""

    def plain(row: Mapping[str, str | None]) -> dict[str, str]:
        return {name: folded(value) if name.endswith("Id") else value for name, value in row.items() if value}

    return {entity: {folded_key(key): plain(row) for key, row in table.items()} for entity, table in rows.items()}


# The calls and their order


async def test_update_reads_everything_posts_what_differs_then_deletes_what_is_not_listed(cmt: FakeCmt) -> None:
    fill(cmt)
    attempt = await run(cmt, UPDATE)
    assert cmt.log == [
        *ALL_RETRIEVES,
        "upsert pet c/p1",
        "upsert pet c/p2",
        "delete contact c/k0",
        "delete pet c/p0",
    ]
    assert holds(cmt, CONTACT, PET) == [("c", "k1"), ("c", "p1"), ("another", "p1"), ("c", "p2")]
    assert attempt.failures == ()


async def test_reads_go_out_together(cmt: FakeCmt) -> None:
    await run(cmt, UPDATE)
    assert cmt.at_once == len(EntityType)


async def test_replace_reads_one_after_another(cmt: FakeCmt) -> None:
    await run(cmt, UPDATE, strategy="replace")
    assert cmt.at_once == 1


@pytest.mark.parametrize("operation", [Operation.NEW, Operation.UPDATE])
async def test_nothing_to_do_is_no_write(cmt: FakeCmt, operation: Operation) -> None:
    await run(cmt, event(operation))
    cmt.calls.clear()
    attempt = await run(cmt, event(operation))
    assert writes(cmt) == []
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (2, 0)}


async def test_columns_that_the_event_does_not_name_stay_in_the_parent_and_go_in_an_entity_row(cmt: FakeCmt) -> None:
    fill(cmt)
    await run(cmt, UPDATE)
    assert cmt.tables[CONSUMER]["c",]["LastName"] == "Beispiel"
    assert cmt.tables[PET]["c", "p1"] == {"ConsumerId": "c", "PetId": "p1", "Name": "Bello", "Breed": None}


async def test_columns_that_a_new_does_not_name_stay(cmt: FakeCmt) -> None:
    fill(cmt)
    await run(cmt, NEW)
    assert cmt.tables[PET]["c", "p1"] == {"ConsumerId": "c", "PetId": "p1", "Name": "Bello", "Breed": "Dackel"}


async def test_new_of_a_consumer_who_is_not_there_reads_the_parent_only(cmt: FakeCmt) -> None:
    await run(cmt, NEW)
    assert cmt.log == [
        "retrieve consumer c",
        "upsert consumer c",
        "upsert contact c/k1",
        "upsert pet c/p1",
        "upsert pet c/p2",
    ]


async def test_new_of_a_consumer_who_is_there_posts_what_differs_and_deletes_nothing(cmt: FakeCmt) -> None:
    fill(cmt)
    await run(cmt, NEW)
    assert cmt.log == [
        "retrieve consumer c",
        "retrieve contact c",
        "retrieve pet c",
        "upsert pet c/p1",
        "upsert pet c/p2",
    ]
    assert ("c", "k0") in holds(cmt, CONTACT)


async def test_delete_profile_deletes_all_rows_then_the_parent(cmt: FakeCmt) -> None:
    fill(cmt)
    attempt = await run(cmt, DELETE_PROFILE)
    assert cmt.log == [
        *RETRIEVES,
        "retrieve consumer c",
        "delete contact c/k0",
        "delete contact c/k1",
        "delete pet c/p0",
        "delete pet c/p1",
        "delete consumer c",
    ]
    assert holds(cmt) == [("another", "p1")]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (2, 0), PET: (2, 0)}


async def test_delete_entities_deletes_the_listed_rows_unread(cmt: FakeCmt) -> None:
    fill(cmt)
    attempt = await run(cmt, DELETE_ENTITIES)
    assert cmt.log == ["delete contact c/k1", "delete pet c/p1", "delete pet c/p2"]
    assert counts(attempt) == {CONTACT: (1, 0), PET: (2, 0)}  # p2 was gone already


async def test_a_row_that_may_be_a_wanted_one_is_deleted_before_anything_is_posted(cmt: FakeCmt) -> None:
    cmt.hold(PET, ConsumerId="c", PetId=" p1")
    await run(cmt, UPDATE)
    assert writes(cmt)[:2] == ["delete pet c/ p1", "upsert consumer c"]
    assert holds(cmt, PET) == [("c", "p1"), ("c", "p2")]


async def test_a_row_under_its_key_in_another_case_is_that_row(cmt: FakeCmt) -> None:
    cmt.hold(PET, ConsumerId="c", PetId="P1 ")
    await run(cmt, UPDATE)
    assert "delete" not in " ".join(writes(cmt))
    assert holds(cmt, PET) == [("c", "P1 "), ("c", "p2")]


# The parent that is not read


async def test_an_erasure_reads_the_parent_however_well_it_is_known(cmt: FakeCmt) -> None:
    """It may be held under another spelling of the ID."""
    one = sink(cmt)
    await one.apply(NEW, last_attempt=False, permit=allowed)
    cmt.calls.clear()
    await one.apply(DELETE_PROFILE, last_attempt=False, permit=allowed)
    assert "retrieve consumer c" in cmt.log


async def test_a_parent_that_is_not_what_was_last_seen_is_posted_unread(cmt: FakeCmt) -> None:
    one = sink(cmt)
    await one.apply(NEW, last_attempt=False, permit=allowed)
    cmt.calls.clear()
    changed = event(consumer={"ConsumerId": "c", "FirstName": "Mia"})
    await one.apply(changed, last_attempt=False, permit=allowed)
    assert cmt.log == [*RETRIEVES, "upsert consumer c"]


async def test_a_parent_that_was_last_seen_like_this_is_read_all_the_same_and_mended(cmt: FakeCmt) -> None:
    one = sink(cmt)
    await one.apply(NEW, last_attempt=False, permit=allowed)
    cmt.hold(CONSUMER, ConsumerId="c", FirstName="Somebody")
    cmt.calls.clear()
    await one.apply(UPDATE, last_attempt=False, permit=allowed)
    assert cmt.log == [*ALL_RETRIEVES, "upsert consumer c"]
    assert cmt.tables[CONSUMER]["c",]["FirstName"] == "Jana"


async def test_a_parent_whose_post_failed_counts_as_not_seen(cmt: FakeCmt) -> None:
    one = sink(cmt)
    await one.apply(NEW, last_attempt=False, permit=allowed)
    changed = event(consumer={"ConsumerId": "c", "FirstName": "Mia"})
    cmt.fail_row(Action.UPSERT, CONSUMER, TRANSIENT_ROW, times=1)
    await one.apply(changed, last_attempt=False, permit=allowed)
    cmt.calls.clear()
    await one.apply(changed, last_attempt=False, permit=allowed)
    assert cmt.log == [*RETRIEVES, "upsert consumer c"]


def test_only_the_latest_consumers_are_remembered() -> None:
    seen = SeenParents(most=2)
    for consumer in ("a", "b", "a", "c"):
        seen.note(consumer, {"FirstName": "x"})
    assert [seen.changed(consumer, {"FirstName": "y"}) for consumer in "abc"] == [True, False, True]
    assert not seen.changed("a", {"FirstName": "x"})


# How records are counted


async def test_a_row_that_was_right_already_counts_as_synced(cmt: FakeCmt) -> None:
    fill(cmt)
    attempt = await run(cmt, UPDATE)
    assert attempt.records == (RecordCount(CONSUMER, 1, 0), RecordCount(CONTACT, 1, 0), RecordCount(PET, 2, 0))


async def test_no_entity_row_counts_when_the_parent_fails(cmt: FakeCmt) -> None:
    fill(cmt)
    cmt.tables[CONSUMER].clear()
    cmt.fail_row(Action.UPSERT, CONSUMER, PERMANENT)
    assert counts(await run(cmt, UPDATE, last=True)) == {CONSUMER: (0, 1)}


@pytest.mark.parametrize("batch_size", [1, 3])
async def test_every_row_of_an_event_is_counted_once_when_all_goes_well(cmt: FakeCmt, batch_size: int) -> None:
    one = sink(cmt, batch_size)
    for what in sample_events(200, seed=8, consumers=20):
        for _ in range(2):
            attempt = await one.apply(what, last_attempt=False, permit=allowed)
            assert not any(record.failed for record in attempt.records)
            if what.operation is not Operation.DELETE:
                assert sum(record.synced for record in attempt.records) == 1 + len(what.rows())


# Failures


@pytest.mark.parametrize("entity", [CONSUMER, PET])
@pytest.mark.parametrize(("code", "retried"), [(TRANSIENT_CALL, True), ("CMT-RETRIEVE-ERROR", False)])
@pytest.mark.parametrize("last", [False, True])
async def test_failed_read_fails_the_event_and_nothing_is_written(
    cmt: FakeCmt, entity: EntityType, code: str, retried: bool, last: bool
) -> None:
    fill(cmt)
    cmt.fail_call(Action.RETRIEVE, entity, code)
    attempt = await run(cmt, UPDATE, last=last)
    assert cmt.log == ALL_RETRIEVES
    assert counts(attempt) == {entity: (0, 1)}
    decision = decide(attempt, attempts_left=not last)
    if retried and not last:
        assert decision == TryAgain(attempt.failures[0])
    else:
        assert decision == Settle(Outcome.FAILED, attempt.failures[0], dead_letter=True, alert=True)


async def test_every_read_that_failed_shows_up_always_in_the_same_order(cmt: FakeCmt) -> None:
    for entity in (OPT_IN, CONTACT):
        cmt.fail_call(Action.RETRIEVE, entity, TRANSIENT_CALL)
    attempt = await run(cmt, UPDATE)
    assert [failure.entity for failure in attempt.failures] == [CONTACT, OPT_IN]


@pytest.mark.parametrize("code", [TRANSIENT_ROW, PERMANENT])
async def test_failed_delete_of_another_spelling_fails_the_event_and_nothing_is_posted(cmt: FakeCmt, code: str) -> None:
    cmt.hold(PET, ConsumerId="c", PetId=" p1")
    cmt.fail_row(Action.DELETE, PET, code)
    attempt = await run(cmt, UPDATE, last=True)
    assert writes(cmt) == ["delete pet c/ p1"]
    assert counts(attempt) == {PET: (0, 1)}
    assert decide(attempt, attempts_left=False) == Settle(Outcome.FAILED, attempt.failures[0], True, True)


@pytest.mark.parametrize("code", [TRANSIENT_ROW, PERMANENT])
@pytest.mark.parametrize("last", [False, True])
async def test_failed_parent_fails_the_event_and_no_entity_row_is_touched(cmt: FakeCmt, code: str, last: bool) -> None:
    fill(cmt)
    cmt.fail_row(Action.UPSERT, CONSUMER, code)
    attempt = await run(cmt, event(consumer={"ConsumerId": "c", "FirstName": "Mia"}), last=last)
    assert writes(cmt) == ["upsert consumer c"]
    decision = decide(attempt, attempts_left=not last)
    retried = code is TRANSIENT_ROW and not last
    assert decision == (
        TryAgain(attempt.failures[0]) if retried else Settle(Outcome.FAILED, attempt.failures[0], True, True)
    )


@pytest.mark.parametrize("last", [False, True])
async def test_refused_entity_row_is_partial_and_the_rest_is_done(cmt: FakeCmt, last: bool) -> None:
    fill(cmt)
    cmt.fail_row(Action.UPSERT, PET, PERMANENT, ("c", "p1"))
    attempt = await run(cmt, UPDATE, last=last)
    assert writes(cmt)[1:] == ["upsert pet c/p2", "delete contact c/k0", "delete pet c/p0"]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (1, 1)}
    assert decide(attempt, attempts_left=not last) == Settle(Outcome.PARTIAL, attempt.failures[0])


@pytest.mark.parametrize("last", [False, True])
async def test_failed_delete_of_a_row_that_is_not_listed_is_partial(cmt: FakeCmt, last: bool) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, CONTACT, PERMANENT)
    attempt = await run(cmt, UPDATE, last=last)
    assert holds(cmt, CONTACT, PET) == [("c", "k0"), ("c", "k1"), ("c", "p1"), ("another", "p1"), ("c", "p2")]
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 1), PET: (2, 0)}
    assert decide(attempt, attempts_left=not last) == Settle(Outcome.PARTIAL, attempt.failures[0])
    to_dlq = decide(attempt, attempts_left=not last, child_failure_to_dlq=True)
    assert to_dlq == Settle(Outcome.PARTIAL, attempt.failures[0], dead_letter=True)


async def test_failed_delete_of_a_row_that_is_not_listed_is_tried_again_when_it_may_pass(cmt: FakeCmt) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, CONTACT, TRANSIENT_ROW, times=1)
    attempt = await run(cmt, UPDATE)
    assert decide(attempt, attempts_left=True) == TryAgain(attempt.failures[0])
    cmt.calls.clear()
    assert (await run(cmt, UPDATE)).failures == ()
    assert writes(cmt) == ["delete contact c/k0"]


@pytest.mark.parametrize("code", [TRANSIENT_ROW, PERMANENT])
async def test_delete_profile_keeps_the_parent_when_a_row_is_refused(cmt: FakeCmt, code: str) -> None:
    fill(cmt)
    cmt.fail_row(Action.DELETE, CONTACT, code, ("c", "k0"))
    attempt = await run(cmt, DELETE_PROFILE, last=True)
    assert holds(cmt) == [("c",), ("c", "k0"), ("another", "p1")]
    assert decide(attempt, attempts_left=False) == Settle(Outcome.FAILED, attempt.failures[0], True, True)


async def test_delete_profile_keeps_the_parent_when_the_rows_of_an_entity_cannot_be_found(cmt: FakeCmt) -> None:
    fill(cmt)
    cmt.fail_call(Action.RETRIEVE, CONTACT, TRANSIENT_CALL)
    attempt = await run(cmt, DELETE_PROFILE, last=True)
    assert holds(cmt) == [("c",), ("c", "k0"), ("c", "k1"), ("another", "p1")]
    assert counts(attempt) == {CONTACT: (0, 1), PET: (2, 0)}


class Lost(Exception):
    """The partition has a new owner."""


@pytest.mark.parametrize("calls", range(11))
async def test_a_lost_partition_ends_the_attempt_before_the_next_call_goes_out(cmt: FakeCmt, calls: int) -> None:
    fill(cmt)

    def permit() -> None:
        if len(cmt.calls) >= calls:
            raise Lost

    with pytest.raises(Lost):
        await sink(cmt).apply(UPDATE, last_attempt=True, permit=permit)
    assert len(cmt.calls) == calls


async def test_an_error_that_is_none_of_the_targets_is_not_swallowed(cmt: FakeCmt) -> None:
    with pytest.raises(KeyError):
        await run(cmt, event(entities={PET: ({"Name": "no key"},)}))


# Batches


async def test_rows_that_differ_share_calls_and_the_parent_goes_alone(cmt: FakeCmt) -> None:
    fill(cmt)
    cmt.tables[CONSUMER].clear()
    await run(cmt, UPDATE, batch_size=50)
    assert writes(cmt) == ["upsert consumer c", "upsert pet c/p1, pet c/p2", "delete contact c/k0, pet c/p0"]


# Dry run


async def test_dry_run_reads_and_logs_what_differs_but_writes_nothing(cmt: FakeCmt) -> None:
    fill(cmt)
    with structlog.testing.capture_logs() as logs:
        attempt = await run(cmt, UPDATE, dry_run=True)
    assert cmt.log == ALL_RETRIEVES
    assert counts(attempt) == {CONSUMER: (1, 0), CONTACT: (1, 0), PET: (2, 0)}
    assert [(line["action"], line["data_extension"]) for line in logs] == [
        *[("upsert", "CMT_Pet"), ("upsert", "CMT_Pet")],
        *[("delete", "CMT_Contact"), ("delete", "CMT_Pet")],
    ]


# As a whole


@pytest.mark.parametrize("typed", [False, True], ids=["as sent", "as typed columns"])
@pytest.mark.parametrize("batch_size", [1, 3, 50])
async def test_both_strategies_leave_the_same_rows_and_reconcile_with_fewer_calls(
    cmt: FakeCmt, catalog: Catalog, batch_size: int, typed: bool
) -> None:
    cmt.typed = typed
    replaced = FakeCmt(catalog)
    one, other = sink(cmt, batch_size), sink(replaced, batch_size, strategy="replace")
    events = list(sample_events(400, seed=5, consumers=30))
    for what in events:
        assert (await one.apply(what, last_attempt=False, permit=allowed)).failures == ()
        assert (await other.apply(what, last_attempt=False, permit=allowed)).failures == ()
    assert without_nulls(cmt.tables) == without_nulls(replaced.tables) == without_nulls(expected_rows(events, catalog))
    if batch_size == 1:
        assert len(cmt.calls) < 0.75 * len(replaced.calls)


async def test_values_in_the_spelling_of_typed_columns_cause_no_write(cmt: FakeCmt) -> None:
    cmt.typed = True
    rows: dict[EntityType, tuple[dict[str, Any], ...]] = {
        PET: ({"PetId": "p", "BirthDate": "2021-03-04", "WeightKg": Decimal("4.5"), "Name": None},),
        CONTACT: ({"ContactId": "k", "IsPrimary": True},),
        INTEREST: ({"InterestId": "i", "Score": 80},),
    }
    await run(cmt, event(entities=rows))
    cmt.calls.clear()
    await run(cmt, event(entities=rows))
    assert writes(cmt) == []


VALUES = st.sampled_from([None, "", "x", "Y ", Decimal("1.5"), True, "2026-01-31"])


def _rows(key: str, columns: list[str]) -> st.SearchStrategy[tuple[dict[str, Any], ...]]:
    row = st.builds(
        lambda value, rest: {key: value, **rest},
        st.sampled_from(["1", "2", "a", "A"]),
        st.dictionaries(st.sampled_from(columns), VALUES),
    )
    return st.lists(row, max_size=4).map(tuple)


ENTITIES = st.fixed_dictionaries(
    {}, optional={PET: _rows("PetId", ["Name", "BirthDate"]), ASSET: _rows("AssetId", ["Type", "Value"])}
)


def _streams() -> st.SearchStrategy[list[ProfileEvent]]:
    """Events of one consumer, with any columns; rows may be listed twice."""
    parent = st.dictionaries(st.sampled_from(["FirstName", "LastName", "BirthDate"]), VALUES)
    full = st.builds(
        lambda operation, consumer, entities: event(
            operation, consumer={"ConsumerId": "c", **consumer}, entities=entities
        ),
        st.sampled_from([Operation.NEW, Operation.UPDATE, Operation.UPDATE]),
        parent,
        ENTITIES,
    )
    some = ENTITIES.filter(lambda entities: any(entities.values())).map(
        lambda entities: event(Operation.DELETE, consumer=None, delete_scope=DeleteScope.ENTITIES, entities=entities)
    )
    return st.lists(st.one_of(full, full, full, some, st.just(DELETE_PROFILE)), max_size=8)


async def _stream(cmt: FakeCmt, events: Sequence[ProfileEvent], **options: Any) -> None:
    one = sink(cmt, **options)
    for what in events:
        assert (await one.apply(what, last_attempt=False, permit=allowed)).failures == ()


@settings(deadline=None, max_examples=examples(80))
@given(events=_streams(), typed=st.booleans(), batch_size=st.sampled_from([1, 2, 50]))
async def test_after_any_stream_both_strategies_leave_the_same_rows_those_that_are_expected(
    catalog: Catalog, events: list[ProfileEvent], typed: bool, batch_size: int
) -> None:
    cmt, replaced = FakeCmt(catalog, typed=typed), FakeCmt(catalog)
    await _stream(cmt, events, batch_size=batch_size)
    await _stream(replaced, events, strategy="replace")
    assert without_nulls(cmt.tables) == without_nulls(replaced.tables) == without_nulls(expected_rows(events, catalog))


@settings(deadline=None, max_examples=examples(60))
@given(events=_streams().filter(bool), typed=st.booleans(), same_sink=st.booleans())
async def test_the_last_event_once_more_writes_nothing(
    catalog: Catalog, events: list[ProfileEvent], typed: bool, same_sink: bool
) -> None:
    cmt = FakeCmt(catalog, typed=typed)
    one = sink(cmt)
    for what in events:
        await one.apply(what, last_attempt=False, permit=allowed)
    if events[-1].operation is Operation.DELETE:
        return  # deletes are repeated: they tolerate rows that are gone
    cmt.calls.clear()
    await (one if same_sink else sink(cmt)).apply(events[-1], last_attempt=False, permit=allowed)
    assert writes(cmt) == []


@pytest.mark.parametrize("batch_size", [1, 4])
async def test_events_that_are_tried_until_they_are_synced_leave_the_expected_rows(
    cmt: FakeCmt, catalog: Catalog, batch_size: int
) -> None:
    rng = random.Random(1)
    events = list(sample_events(200, seed=6, consumers=10))
    one, tries = sink(cmt, batch_size), 0
    for what in events:
        while True:
            tries += 1
            cmt.heal()
            if rng.random() < 0.7:
                action = rng.choice([Action.RETRIEVE, Action.UPSERT, Action.DELETE])
                breaks = rng.choice([cmt.fail_row, cmt.fail_call])
                breaks(action, rng.choice(list(EntityType)), rng.choice([TRANSIENT_ROW, TRANSIENT_CALL]))
            if not (await one.apply(what, last_attempt=False, permit=allowed)).failures:
                break
    assert tries > len(events) * 1.2
    assert without_nulls(cmt.tables) == without_nulls(expected_rows(events, catalog))
