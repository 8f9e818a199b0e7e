"""What a profile event means: how it is read, what follows an attempt, and how it counts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.bundled import schema_path
from app.delivery.alert import Alert
from app.delivery.consumer_record import ConsumerState, DeletedRow, FullState
from app.delivery.counts import FailureCount
from app.delivery.errors import EVENT_TOO_LARGE
from app.delivery.outcome import Attempt, Failure, InvalidEvent, Outcome, Phase, RecordCount, Settle, TryAgain
from app.delivery.partition_record import PartitionState
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.engine.flow import Permit, Result
from app.engine.lease import LeaseLost
from app.flows.consumer_sync import ConsumerSync
from app.observe.redaction import hash_consumer
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, DataExtension, EntityType
from app.profile.event import ProfileEvent
from app.profile.holdings.row_digests import Digests
from app.profile.holdings.row_list import row_list
from app.settings import SyncSettings
from tests.unit.flows.one_sink import to

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
DOCUMENT: dict[str, Any] = {
    "eventId": "e-1",
    "operation": "NEW",
    "consumerId": "ann-4711",
    "market": "DE",
    "occurredAt": "2026-11-21T10:00:00Z",
    "consumer": {"ConsumerId": "ann-4711", "FirstName": "Ann"},
}


class ScriptedSink:
    """Gives the attempt that it was told to; keeps what it was asked."""

    def __init__(self, attempt: Attempt | None = None) -> None:
        self.attempt = attempt or Attempt()
        self.applied: list[tuple[ProfileEvent, bool]] = []

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        permit()
        self.applied.append((event, last_attempt))
        return self.attempt


def failure(code: str, entity: EntityType = CONSUMER, phase: Phase = Phase.PARENT, message: str = "masked") -> Failure:
    return Failure(code, message, entity, phase)


def record(document: dict[str, Any] | None = None, value: bytes | None = b"", **changes: Any) -> SourceRecord:
    if value == b"":
        value = json.dumps({**DOCUMENT, **(document or {})}).encode()
    given: dict[str, Any] = {"timestamp_ms": 1_795_000_000_000, "key": b"ann-4711", "value": value, **changes}
    return SourceRecord("main", 3, 14, **given)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return parse_catalog(schema_path("data-extensions.json").read_bytes())


async def run(
    catalog: Catalog,
    attempt: Attempt,
    *,
    last: bool = False,
    of: SourceRecord | None = None,
    state: ConsumerState | None = None,
    **settings: Any,
) -> Result:
    flow = ConsumerSync(to(ScriptedSink(attempt), catalog), catalog, SyncSettings(**settings))
    work = flow.read(of or record())
    return await flow.run(work, attempt=2, last=last, state=state, permit=lambda: None)


def test_a_record_becomes_work_for_its_consumer(catalog: Catalog) -> None:
    work = ConsumerSync(to(ScriptedSink(), catalog), catalog, SyncSettings()).read(record())
    assert (work.consumer, work.event_id, work.record) == ("ann-4711", "e-1", record())


def test_a_record_that_cannot_be_worked_on_counts_under_its_reason_and_without_a_record(catalog: Catalog) -> None:
    flow = ConsumerSync(to(ScriptedSink(), catalog), catalog, SyncSettings())
    bad = record({"market": "PL", "surprise": "Ann"})
    with pytest.raises(InvalidEvent) as problem, capture_logs() as logged:
        flow.read(bad)
    with capture_logs() as logged:
        settlement = flow.invalid(bad, problem.value)
    assert (settlement.outcome, settlement.reason, settlement.market) == (Outcome.INVALID, "EVENT-SCHEMA", "PL")
    assert (settlement.consumer_id, settlement.event_id, settlement.day) == ("ann-4711", "e-1", "2026-11-18")
    assert settlement.failures == (FailureCount("event", "EVENT-SCHEMA"),)
    assert settlement.records == ()
    assert "Ann" not in str(logged)
    assert "ann-4711" not in str(logged)


@pytest.mark.parametrize(("key", "consumer"), [(None, None), (b"", None), (b"\xff", None), (b"x" * 600, "x" * 512)])
def test_an_invalid_record_is_filed_under_its_key_if_that_says_a_consumer(
    catalog: Catalog, key: bytes | None, consumer: str | None
) -> None:
    flow = ConsumerSync(to(ScriptedSink(), catalog), catalog, SyncSettings())
    with pytest.raises(InvalidEvent) as problem:
        flow.read(record(key=key))
    assert flow.invalid(record(key=key), problem.value).consumer_id == consumer


async def test_what_went_well_is_settled_with_its_counts(catalog: Catalog) -> None:
    records = (RecordCount(CONSUMER, 1, 0), RecordCount(PET, 2, 0))
    result = await run(catalog, Attempt(records=records))
    assert result.decision == Settle(Outcome.SYNCED)
    settlement = result.settlement
    assert settlement is not None
    assert (settlement.outcome, settlement.reason, settlement.attempts) == (Outcome.SYNCED, None, 2)
    assert (settlement.operation, settlement.market, settlement.day) == ("NEW", "DE", "2026-11-18")
    assert (settlement.records, settlement.failures, settlement.full_state) == (records, (), True)
    assert (result.target_failed, result.target_down) == (False, False)


@pytest.mark.parametrize(
    ("what_failed", "listed"),
    [((), True), ((failure("CMT-ROW-INVALID", PET, Phase.CHILD),), True), ((failure("CMT-ROW-INVALID"),), False)],
)
async def test_the_rows_of_an_event_that_reached_marketing_cloud_are_listed(
    catalog: Catalog, what_failed: tuple[Failure, ...], listed: bool
) -> None:
    of = record({"operation": "UPDATE", "entities": {"pet": [{"PetId": "P-1", "Name": "Waldi"}]}})
    result = await run(catalog, Attempt(what_failed), of=of)
    assert result.settlement is not None
    found = row_list(result.settlement.rows, Digests(catalog).head)
    assert (found is not None) is listed
    assert found is None or [(row.entity, row.key) for row in found.rows] == [(CONSUMER, ()), (PET, ("P-1",))]


async def test_a_delete_of_rows_that_failed_can_be_recorded_whatever_its_keys_are(catalog: Catalog) -> None:
    """JSON can escape half of a surrogate pair, which cannot be written: the worker would end with every attempt."""
    of = record({"operation": "DELETE", "deleteScope": "ENTITIES", "entities": {"pet": [{"PetId": "\ud800"}]}})
    result = await run(catalog, Attempt((failure("CMT-ROW-INVALID", PET, Phase.DELETE),)), of=of)
    assert result.settlement is not None
    state = PartitionState()
    state.give_up(0, Verdict(result.settlement, "masked", 1, 1, alert=True))
    assert PartitionState.decode(state.encode()) == state


async def test_rows_that_a_later_event_deleted_are_not_listed(catalog: Catalog) -> None:
    of = record({"operation": "UPDATE", "entities": {"pet": [{"PetId": "gone"}, {"PetId": "P-1"}]}})
    since = ConsumerState(20, "DE", deleted=(DeletedRow(20, "pet", ("gone",)),))
    result = await run(catalog, Attempt(), of=of, state=since)
    assert result.settlement is not None
    found = row_list(result.settlement.rows, Digests(catalog).head)
    assert found is not None
    assert [row.key for row in found.rows] == [(), ("P-1",)]


async def test_what_may_pass_is_tried_again_while_attempts_are_left(catalog: Catalog) -> None:
    locked = failure("CMT-ROW-CONTENTION")
    again = await run(catalog, Attempt((locked,)))
    assert (again.decision, again.settlement) == (TryAgain(locked), None)
    over = await run(catalog, Attempt((locked,)), last=True)
    assert over.decision == Settle(Outcome.FAILED, locked, dead_letter=True, alert=True)
    assert over.settlement is not None
    assert over.settlement.reason == "CMT-ROW-CONTENTION"


async def test_the_sink_learns_that_it_is_the_last_attempt(catalog: Catalog) -> None:
    sink = ScriptedSink()
    flow = ConsumerSync(to(sink, catalog), catalog, SyncSettings())
    for last in (False, True):
        await flow.run(flow.read(record()), attempt=1, last=last, state=None, permit=lambda: None)
    assert [last for _, last in sink.applied] == [False, True]


@pytest.mark.parametrize(("setting", "dead_letter"), [("log", False), ("dlq", True)])
async def test_child_failures_make_it_partial_and_a_dead_letter_only_where_that_is_wanted(
    catalog: Catalog, setting: str, dead_letter: bool
) -> None:
    refused = failure("CMT-ROW-INVALID", PET, Phase.CHILD)
    result = await run(catalog, Attempt((refused,)), child_failure=setting)
    assert result.decision == Settle(Outcome.PARTIAL, refused, dead_letter=dead_letter, alert=False)


async def test_failures_are_grouped_and_the_deciding_one_comes_first(catalog: Catalog) -> None:
    attempt = Attempt(
        (
            failure("CMT-ROW-CONTENTION", PET, Phase.DELETE),
            failure("CMT-ROW-CONTENTION", PET, Phase.DELETE),
            failure("CMT-ROW-INVALID", CONTACT, Phase.DELETE),
            failure("CMT-ROW-INVALID", CHILD, Phase.DELETE),
        )
    )
    result = await run(catalog, attempt, of=record({"operation": "DELETE", "consumer": None}))
    assert result.settlement is not None
    assert result.settlement.reason == "CMT-ROW-INVALID"
    assert result.settlement.failures[0] == FailureCount("contact", "CMT-ROW-INVALID", 1)
    assert set(result.settlement.failures[1:]) == {
        FailureCount("child", "CMT-ROW-INVALID", 1),
        FailureCount("pet", "CMT-ROW-CONTENTION", 2),
    }


@pytest.mark.parametrize(
    ("code", "failed", "down"),
    [("CMT-ROW-CONTENTION", False, False), ("CMT-SERVER-FAULT", True, False), ("CMT-TOKEN-REFUSED", True, True)],
)
async def test_the_breaker_hears_whether_the_target_or_the_event_failed(
    catalog: Catalog, code: str, failed: bool, down: bool
) -> None:
    result = await run(catalog, Attempt((failure(code),)))
    assert (result.target_failed, result.target_down) == (failed, down)


@pytest.mark.parametrize("code", ["CMT-HTTP-REFUSED", "CMT-CLIENT-FAULT"])
async def test_a_refusal_may_be_the_events_own_fault_or_meet_every_call(catalog: Catalog, code: str) -> None:
    result = await run(catalog, Attempt((failure(code),)))
    assert (result.target_failed, result.target_down, result.refused) == (False, False, True)
    assert result.may_be_an_outage
    assert not (await run(catalog, Attempt((failure("CMT-ROW-INVALID"),)))).may_be_an_outage


async def test_a_null_value_counts_for_the_market_where_the_consumer_was_seen_last(catalog: Catalog) -> None:
    deletion = record(value=None)
    unknown = await run(catalog, Attempt(), of=deletion)
    known = await run(catalog, Attempt(), of=deletion, state=ConsumerState(9, "PL"))
    assert unknown.settlement is not None
    assert known.settlement is not None
    assert (unknown.settlement.market, known.settlement.market) == ("-", "PL")
    assert (known.settlement.operation, known.settlement.event_id, known.settlement.full_state) == (
        "DELETE",
        "3-14",
        True,
    )


@pytest.fixture(scope="module")
def markets(catalog: Catalog) -> Catalog:
    """DE with pets of its own, PL as in general, no other."""
    pets = DataExtension("DE_Pet", ("Nr",), ("ConsumerId", "Nr"))
    german = Catalog({**catalog.data_extensions, PET: pets})
    return replace(catalog, markets={"DE": german, "PL": catalog})


def test_the_breaker_of_the_markets_account_is_asked(markets: Catalog) -> None:
    flow = ConsumerSync(to(ScriptedSink(), markets, lambda market: f"account of {market}"), markets, SyncSettings())
    assert flow.target(flow.read(record()), None) == "account of DE"
    # Of the event, whatever the consumer's market was before.
    assert flow.target(flow.read(record({"market": "PL"})), ConsumerState(9, "DE")) == "account of PL"
    deletion = flow.read(record(value=None))
    assert flow.target(deletion, ConsumerState(9, "PL")) == "account of PL"
    assert flow.target(deletion, None) == "account of -"


async def test_a_null_value_deletes_in_the_market_where_the_consumer_was_written_last(markets: Catalog) -> None:
    sink = ScriptedSink()
    flow = ConsumerSync(to(sink, markets), markets, SyncSettings())
    deletion = flow.read(record(value=None))
    await flow.run(deletion, attempt=1, last=False, state=ConsumerState(9, "PL"), permit=lambda: None)
    result = await flow.run(deletion, attempt=1, last=False, state=None, permit=lambda: None)
    assert [event.market for event, _ in sink.applied] == ["PL", "-"]
    assert result.settlement is not None
    assert result.settlement.market == "-"


def test_an_event_of_an_unknown_market_is_invalid(markets: Catalog) -> None:
    flow = ConsumerSync(to(ScriptedSink(), markets), markets, SyncSettings())
    bad = record({"market": "FR"})
    with pytest.raises(InvalidEvent) as problem:
        flow.read(bad)
    settlement = flow.invalid(bad, problem.value)
    assert (settlement.outcome, settlement.reason, settlement.market) == (
        Outcome.INVALID,
        "EVENT-MARKET-UNKNOWN",
        "FR",
    )


async def test_rows_that_were_deleted_since_are_found_by_the_keys_of_their_market(markets: Catalog) -> None:
    sink = ScriptedSink()
    flow = ConsumerSync(to(sink, markets), markets, SyncSettings())
    pets = {"entities": {"pet": [{"Nr": "gone"}, {"Nr": "kept"}]}}
    since = ConsumerState(20, "DE", deleted=(DeletedRow(20, "pet", ("gone",)),))
    await flow.run(flow.read(record(pets)), attempt=1, last=False, state=since, permit=lambda: None)
    ((sent, _),) = sink.applied
    assert [row["Nr"] for row in sent.entities[PET]] == ["kept"]
    rows = {"operation": "DELETE", "consumer": None, "deleteScope": "ENTITIES", "entities": {"pet": [{"Nr": "7"}]}}
    result = await flow.run(flow.read(record(rows)), attempt=1, last=False, state=None, permit=lambda: None)
    assert result.settlement is not None
    assert result.settlement.deleted == (("pet", ("7",)),)


async def test_a_delete_of_single_rows_is_no_full_state(catalog: Catalog) -> None:
    rows = {"operation": "DELETE", "consumer": None, "deleteScope": "ENTITIES", "entities": {"pet": [{"PetId": "1"}]}}
    result = await run(catalog, Attempt(), of=record(rows))
    assert result.settlement is not None
    assert not result.settlement.full_state


async def test_an_event_that_a_later_one_has_overtaken_is_not_sent_and_says_so(catalog: Catalog) -> None:
    sink = ScriptedSink()
    flow = ConsumerSync(to(sink, catalog), catalog, SyncSettings())
    later = ConsumerState(20, "DE", full=FullState(20, "UPDATE", "e-20"))
    result = await flow.run(flow.read(record()), attempt=1, last=False, state=later, permit=lambda: None)
    assert sink.applied == []
    assert result.settlement is not None
    assert (result.settlement.outcome, result.settlement.reason) == (Outcome.SUPERSEDED, "SYNC-SUPERSEDED")
    assert (result.settlement.records, result.settlement.failures) == ((), ())
    assert isinstance(result.decision, Settle)
    assert (result.decision.dead_letter, result.decision.alert) == (False, False)
    assert result.decision.failure is not None
    assert "UPDATE (event e-20)" in result.decision.failure.message


async def test_rows_that_were_deleted_since_are_left_out(catalog: Catalog) -> None:
    sink = ScriptedSink()
    flow = ConsumerSync(to(sink, catalog), catalog, SyncSettings())
    pets = {"entities": {"pet": [{"PetId": "gone"}, {"PetId": "kept"}]}}
    since = ConsumerState(20, "DE", deleted=(DeletedRow(20, "pet", ("gone",)),))
    await flow.run(flow.read(record(pets)), attempt=1, last=False, state=since, permit=lambda: None)
    ((sent, _),) = sink.applied
    assert [row["PetId"] for row in sent.entities[EntityType.PET]] == ["kept"]


async def test_the_keys_of_single_rows_that_a_delete_removed_are_settled_with_it(catalog: Catalog) -> None:
    rows = {"operation": "DELETE", "consumer": None, "deleteScope": "ENTITIES", "entities": {"pet": [{"PetId": "1"}]}}
    result = await run(catalog, Attempt(), of=record(rows))
    assert result.settlement is not None
    assert result.settlement.deleted == (("pet", ("1",)),)
    whole = await run(catalog, Attempt(), of=record())
    assert whole.settlement is not None
    assert whole.settlement.deleted == ()


async def test_a_lost_lease_ends_the_attempt_without_an_outcome(catalog: Catalog) -> None:
    def lost() -> None:
        raise LeaseLost

    flow = ConsumerSync(to(ScriptedSink(), catalog), catalog, SyncSettings())
    with pytest.raises(LeaseLost):
        await flow.run(flow.read(record()), attempt=1, last=False, state=None, permit=lost)


async def test_a_dry_run_makes_no_incident(catalog: Catalog) -> None:
    result = await run(catalog, Attempt((failure("CMT-RETRIEVE-ERROR", PET, Phase.BEFORE_PARENT),)), dry_run=True)
    assert isinstance(result.decision, Settle)
    assert (result.decision.outcome, result.decision.dead_letter, result.decision.alert) == (
        Outcome.FAILED,
        True,
        False,
    )
    flow = ConsumerSync(to(ScriptedSink(), catalog), catalog, SyncSettings(dry_run=True))
    given_up = flow.gave_up(flow.read(record()), EVENT_TOO_LARGE, "too large", 1)
    assert isinstance(given_up.decision, Settle)
    assert not given_up.decision.alert


def test_what_the_engine_gives_up_has_failed_as_a_whole(catalog: Catalog) -> None:
    flow = ConsumerSync(to(ScriptedSink(), catalog), catalog, SyncSettings())
    result = flow.gave_up(flow.read(record()), EVENT_TOO_LARGE, "too large", 1)
    assert isinstance(result.decision, Settle)
    assert (result.decision.outcome, result.decision.dead_letter, result.decision.alert) == (Outcome.FAILED, True, True)
    assert result.settlement is not None
    assert result.settlement.records == (RecordCount(CONSUMER, 0, 1),)
    assert result.settlement.reason == "EVENT-TOO-LARGE"


async def test_the_alert_names_the_event_but_not_the_consumer(catalog: Catalog) -> None:
    flow = ConsumerSync(to(ScriptedSink(), catalog), catalog, SyncSettings())
    result = await run(catalog, Attempt((failure("CMT-ROW-INVALID", PET, Phase.DELETE),)), of=record(value=None))
    assert result.settlement is not None
    key, value = flow.alert(record(), Verdict(result.settlement, "masked", 10, 20, alert=True))
    alert = Alert.from_bytes(value)
    assert key == b"CMT-ROW-INVALID:pet:DELETE" == alert.fingerprint.encode()
    assert (alert.event_id, alert.message, alert.at_ms) == ("3-14", "masked", 20)
    assert alert.consumer == hash_consumer("ann-4711")
    assert b"ann-4711" not in key + value


@pytest.mark.parametrize(
    ("account", "fingerprint"),
    [("default", "CMT-PERMISSION:pet:-"), ("510001", "CMT-PERMISSION:account-510001-pet:-")],
)
async def test_a_right_that_one_data_extension_lacks_is_one_incident_for_each_account(
    catalog: Catalog, account: str, fingerprint: str
) -> None:
    flow = ConsumerSync(to(ScriptedSink(), catalog, lambda market: account), catalog, SyncSettings())
    result = await run(catalog, Attempt((failure("CMT-PERMISSION", PET, Phase.DELETE),)), of=record(value=None))
    assert result.settlement is not None
    kind = flow.fingerprint(result.settlement)
    assert str(kind) == fingerprint, "dead letters and incidents of one kind have the same"
    key, _ = flow.alert(record(), Verdict(result.settlement, "masked", 10, 20, alert=True, fingerprint=kind))
    assert key.decode() == fingerprint
