"""The sink with the real client against the simulator: the outcomes of faults on the wire, and the resulting rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from app.bundled import schema_path
from app.cmt.call import always
from app.cmt.client import CmtClient
from app.delivery.outcome import Attempt, Outcome, Settle, TryAgain
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.holdings.projection import Rows, expected_rows
from app.profile.outcome_table import decide
from app.profile.samples.samples import sample_events
from app.settings import CmtSettings, SyncSettings
from app.simulator.server import Simulator
from app.sinks import Sink
from app.sinks.cmt import CmtSink
from tests.support.answers import retrieved

CONSUMER, CONTACT, CHILD, PET, ASSET, INTEREST, OPT_IN = EntityType
CATALOG: Catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())


class Target:
    """The simulator, seen from its test side."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def _get(self, path: str) -> Any:
        async with self._http.get(f"{self.url}/_sim/{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def fault(self, kind: str, **rule: Any) -> None:
        async with self._http.post(f"{self.url}/_sim/faults", json={"kind": kind, **rule}) as response:
            assert response.status == 200, await response.text()

    async def heal(self) -> None:
        async with self._http.delete(f"{self.url}/_sim/faults") as response:
            assert response.status == 200

    async def calls(self, since: int = 0) -> list[str]:
        return [f"{call['operation']} {call['dataExtension']}" for call in await self._calls(since)]

    async def latest(self) -> int:
        return max((call["seq"] for call in await self._calls()), default=0)

    async def _calls(self, since: int = 0) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = (await self._get(f"calls?since={since}"))["calls"]
        return calls

    async def rows(self) -> Rows:
        """All rows in the simulator."""
        found: Rows = {}
        for entity in EntityType:
            table = CATALOG[entity]
            rows = (await self._get(f"rows/{table.customer_key}"))["rows"]
            found[entity] = {tuple(row[column] for column in table.primary_key): row for row in rows}
        return found


MakeSink = Callable[..., Awaitable[Sink]]


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with Simulator() as simulator, aiohttp.ClientSession() as http:
        yield Target(simulator.url, http)


@pytest.fixture
async def make_sink(target: Target) -> AsyncIterator[MakeSink]:
    async with AsyncExitStack() as stack:

        async def make(batch_size: int = 1, timeout_seconds: float = 5.0, **settings: Any) -> Sink:
            cmt = CmtSettings(
                auth_url=target.url,
                client_id="simulator",
                client_secret="simulator-secret",  # type: ignore[arg-type]
                timeout_seconds=timeout_seconds,
            )
            client = await stack.enter_async_context(CmtClient(cmt, CATALOG))
            return CmtSink(client, CATALOG, SyncSettings(**settings), batch_size)

        yield make


def event(operation: Operation = Operation.NEW, **changes: Any) -> ProfileEvent:
    values: dict[str, Any] = {
        "event_id": "e-1",
        "operation": operation,
        "consumer_id": "c-1",
        "market": "DE",
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": "c-1", "FirstName": "Jana", "EmailAddress": "jana.beispiel@example.com"},
        "entities": {
            CONTACT: ({"ContactId": "k-1", "Value": "+4930231259"},),
            PET: ({"PetId": "p-1", "Name": "Bello"}, {"PetId": "p-2", "Name": None}),
        },
    }
    return ProfileEvent(**{**values, **changes})


NEW, UPDATE = event(), event(Operation.UPDATE)
DELETE_PROFILE = event(Operation.DELETE, consumer=None, entities={}, delete_scope=DeleteScope.PROFILE)
DELETE_ENTITIES = event(Operation.DELETE, consumer=None, delete_scope=DeleteScope.ENTITIES)


async def run(sink: Sink, what: ProfileEvent, *, last: bool = False) -> Attempt:
    return await sink.apply(what, last_attempt=last, permit=always)


async def test_the_calls_of_each_operation_as_marketing_cloud_sees_them(target: Target, make_sink: MakeSink) -> None:
    sink = await make_sink()
    seen = {}
    for what in (NEW, UPDATE, DELETE_ENTITIES, DELETE_PROFILE):
        since = await target.latest()
        assert (await run(sink, what)).failures == ()
        seen[what.operation, what.delete_scope] = await target.calls(since)
    retrieves = [f"Retrieve {CATALOG[entity].customer_key}" for entity in EntityType if not entity.is_parent]
    posts = ["Update CMT_Consumer", "Update CMT_Contact", "Update CMT_Pet", "Update CMT_Pet"]
    deletes = ["Delete CMT_Contact", "Delete CMT_Pet", "Delete CMT_Pet"]
    assert seen == {
        (Operation.NEW, None): posts,
        (Operation.UPDATE, None): [*retrieves, *deletes, *posts],
        (Operation.DELETE, DeleteScope.ENTITIES): deletes,
        (Operation.DELETE, DeleteScope.PROFILE): [*retrieves, "Retrieve CMT_Consumer", "Delete CMT_Consumer"],
    }


def without_nulls(rows: Rows) -> dict[EntityType, dict[tuple[str, ...], dict[str, str]]]:
    """A column that was never set equals one that was emptied."""
    return {
        entity: {key: {column: value for column, value in row.items() if value} for key, row in table.items()}
        for entity, table in rows.items()
    }


@pytest.mark.parametrize("strategy", ["replace", "reconcile"])
@pytest.mark.parametrize("batch_size", [1, 50])
async def test_after_a_stream_of_events_the_rows_are_those_that_are_expected(
    target: Target, make_sink: MakeSink, batch_size: int, strategy: str
) -> None:
    sink = await make_sink(batch_size, strategy=strategy)
    events = list(sample_events(150, seed=5, consumers=15))
    for one in events:
        assert (await run(sink, one)).failures == ()
    assert without_nulls(await target.rows()) == without_nulls(expected_rows(events, CATALOG))


async def test_reconcile_reads_at_the_same_time_and_writes_what_differs(target: Target, make_sink: MakeSink) -> None:
    sink = await make_sink(strategy="reconcile")
    assert (await run(sink, NEW)).failures == ()
    since = await target.latest()
    assert (await run(sink, UPDATE)).failures == ()
    reads = sorted(f"Retrieve {CATALOG[entity].customer_key}" for entity in EntityType)
    assert sorted(await target.calls(since)) == reads

    since = await target.latest()
    changed = event(Operation.UPDATE, entities={PET: ({"PetId": "p-1", "Name": "Rex"},)})
    assert (await run(sink, changed)).failures == ()
    said = await target.calls(since)
    assert sorted(said[:7]) == reads
    assert said[7:] == ["Update CMT_Pet", "Delete CMT_Contact", "Delete CMT_Pet"]
    assert without_nulls(await target.rows()) == without_nulls(expected_rows([NEW, changed], CATALOG))


async def test_what_the_wire_carries_comes_back_the_same(target: Target, make_sink: MakeSink) -> None:
    """Otherwise every later event would write the row again."""
    sink = await make_sink(strategy="reconcile")
    values = [
        "a\tb\nc",
        "a\r\nb\rc",
        "  two  spaces ",
        "]]>",
        "<b>&amp;</b>",
        "\u65e5\u672c \U0001f600",
        "",
        None,
        True,
        7,
    ]
    rows = event(Operation.UPDATE, entities={PET: tuple({"PetId": str(n), "Name": v} for n, v in enumerate(values))})
    assert (await run(sink, rows)).failures == ()
    since = await target.latest()
    assert (await run(sink, rows)).failures == ()
    assert [call for call in await target.calls(since) if not call.startswith("Retrieve")] == []


# Faults on the wire, with the outcome before the last attempt and at the last one. ``None``: another attempt.

FAILED, PARTIAL, AGAIN = Outcome.FAILED, Outcome.PARTIAL, None
CELLS = [
    # what fails, on what, in which event: (before the last attempt, at the last)
    (UPDATE, {"kind": "server_fault", "operation": "Retrieve", "dataExtension": "CMT_Pet"}, AGAIN, FAILED),
    (UPDATE, {"kind": "row_error_transient", "operation": "Delete", "dataExtension": "CMT_Pet"}, AGAIN, FAILED),
    (UPDATE, {"kind": "row_error", "operation": "Delete", "dataExtension": "CMT_Pet"}, FAILED, FAILED),
    (UPDATE, {"kind": "token_500"}, AGAIN, FAILED),
    (NEW, {"kind": "token_500"}, AGAIN, FAILED),
    (NEW, {"kind": "row_error", "dataExtension": "CMT_Consumer"}, FAILED, FAILED),
    (NEW, {"kind": "row_error_transient", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    (NEW, {"kind": "http_503", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    (NEW, {"kind": "rate_limited", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    (NEW, {"kind": "security_fault", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    (NEW, {"kind": "reset", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    (NEW, {"kind": "malformed_xml", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    (NEW, {"kind": "row_error", "dataExtension": "CMT_Pet"}, PARTIAL, PARTIAL),
    (NEW, {"kind": "row_error_transient", "dataExtension": "CMT_Pet"}, AGAIN, PARTIAL),
    (NEW, {"kind": "maintenance", "dataExtension": "CMT_Pet"}, AGAIN, PARTIAL),
    (NEW, {"kind": "html_500", "dataExtension": "CMT_Pet"}, AGAIN, PARTIAL),
    (DELETE_PROFILE, {"kind": "row_error", "operation": "Delete", "dataExtension": "CMT_Pet"}, FAILED, FAILED),
    (DELETE_PROFILE, {"kind": "row_error_transient", "dataExtension": "CMT_Pet"}, AGAIN, FAILED),
    (DELETE_PROFILE, {"kind": "server_fault", "operation": "Retrieve"}, AGAIN, FAILED),
    (DELETE_PROFILE, {"kind": "row_error", "dataExtension": "CMT_Consumer"}, FAILED, FAILED),
    (DELETE_ENTITIES, {"kind": "row_error", "dataExtension": "CMT_Pet"}, FAILED, FAILED),
    (DELETE_ENTITIES, {"kind": "server_fault", "dataExtension": "CMT_Pet"}, AGAIN, FAILED),
]


# The same for strategy ``reconcile``: an UPDATE that changes the parent and a pet, and does not list the contact.
CHANGED = event(
    Operation.UPDATE,
    consumer={"ConsumerId": "c-1", "FirstName": "Mia"},
    entities={PET: ({"PetId": "p-1", "Name": "Rex"},)},
)
RECONCILE_CELLS = [
    ({"kind": "server_fault", "operation": "Retrieve", "dataExtension": "CMT_Pet"}, AGAIN, FAILED),
    ({"kind": "malformed_xml", "operation": "Retrieve", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    ({"kind": "rate_limited", "operation": "Retrieve"}, AGAIN, FAILED),
    ({"kind": "row_error", "dataExtension": "CMT_Consumer"}, FAILED, FAILED),
    ({"kind": "row_error_transient", "dataExtension": "CMT_Consumer"}, AGAIN, FAILED),
    ({"kind": "row_error", "operation": "Update", "dataExtension": "CMT_Pet"}, PARTIAL, PARTIAL),
    ({"kind": "http_503", "operation": "Update", "dataExtension": "CMT_Pet"}, AGAIN, PARTIAL),
    ({"kind": "row_error", "operation": "Delete", "dataExtension": "CMT_Contact"}, PARTIAL, PARTIAL),
    ({"kind": "row_error_transient", "operation": "Delete", "dataExtension": "CMT_Contact"}, AGAIN, PARTIAL),
    ({"kind": "server_fault", "operation": "Delete", "dataExtension": "CMT_Contact"}, AGAIN, PARTIAL),
]


@pytest.mark.parametrize(
    "cell",
    RECONCILE_CELLS,
    ids=lambda cell: f"{cell[0]['kind']} {cell[0].get('operation')} {cell[0].get('dataExtension')}",
)
async def test_outcome_of_a_fault_with_reconcile(
    target: Target, make_sink: MakeSink, cell: tuple[dict[str, str], Outcome | None, Outcome]
) -> None:
    fault, before_last, at_last = cell
    await run(await make_sink(strategy="reconcile"), NEW)
    # Another worker's: it knows nothing of the parent.
    sink = await make_sink(strategy="reconcile")
    await target.fault(**fault)

    decision = decide(await run(sink, CHANGED), attempts_left=True)
    settled = decide(await run(sink, CHANGED, last=True), attempts_left=False)

    if before_last is AGAIN:
        assert isinstance(decision, TryAgain)
    else:
        assert isinstance(decision, Settle)
        assert decision.outcome is before_last
    assert isinstance(settled, Settle)
    assert settled.outcome is at_last
    assert settled.alert == settled.dead_letter == (at_last is FAILED)
    if at_last is FAILED:
        assert await target.rows() == expected_rows([NEW], CATALOG)
    await target.heal()
    assert (await run(sink, CHANGED)).failures == ()
    assert without_nulls(await target.rows()) == without_nulls(expected_rows([NEW, CHANGED], CATALOG))


def _name(cell: tuple[ProfileEvent, dict[str, str], Outcome | None, Outcome]) -> str:
    scope = cell[0].delete_scope or ""
    return f"{cell[0].operation} {scope} {cell[1]['kind']} {cell[1].get('dataExtension', '')}"


@pytest.mark.parametrize("cell", CELLS, ids=_name)
async def test_outcome_of_a_fault(
    target: Target, make_sink: MakeSink, cell: tuple[ProfileEvent, dict[str, str], Outcome | None, Outcome]
) -> None:
    what, fault, before_last, at_last = cell
    sink = await make_sink()
    if what is not NEW:
        await run(sink, NEW)
    if fault["kind"] == "token_500":
        sink = await make_sink()  # has no token yet
    await target.fault(**fault)

    early = await run(sink, what)
    late = await run(sink, what, last=True)

    decision = decide(early, attempts_left=True)
    if before_last is AGAIN:
        assert isinstance(decision, TryAgain)
    else:
        assert isinstance(decision, Settle)
        assert decision.outcome is before_last
    settled = decide(late, attempts_left=False)
    assert isinstance(settled, Settle)
    assert settled.outcome is at_last
    assert settled.alert == settled.dead_letter == (at_last is FAILED)
    if what is DELETE_PROFILE:
        assert ("c-1",) in (await target.rows())[CONSUMER]
    if at_last is PARTIAL:
        held = await target.rows()
        assert (set(held[CONTACT]), set(held[PET])) == ({("c-1", "k-1")}, set())
    await target.heal()
    assert (await run(sink, UPDATE)).failures == ()
    assert await target.rows() == expected_rows([NEW, UPDATE], CATALOG)


@pytest.mark.parametrize("operation", ["Update", "Delete"])
async def test_a_write_whose_answer_was_lost_is_done_again_without_harm(
    target: Target, make_sink: MakeSink, operation: str
) -> None:
    sink = await make_sink(timeout_seconds=0.3)
    await run(sink, NEW)
    await target.fault("timeout", operation=operation, dataExtension="CMT_Pet", times=1, after=True)
    first = await run(sink, UPDATE)
    assert [failure.code for failure in first.failures] == ["CMT-TIMEOUT"]
    assert (await run(sink, UPDATE)).failures == ()
    assert await target.rows() == expected_rows([NEW, UPDATE], CATALOG)


async def test_messages_of_failures_hold_no_value_of_the_event(target: Target, make_sink: MakeSink) -> None:
    sink = await make_sink()
    await target.fault("row_error")
    values = set()
    messages = []
    for one in sample_events(60, seed=9):
        attempt = await run(sink, one, last=True)
        messages += [failure.message for failure in attempt.failures]
        rows = [dict(one.consumer or {}), *(dict(row) for _, row in one.rows())]
        values |= {str(value) for row in rows for value in row.values() if isinstance(value, str) and len(value) > 3}
    assert len(messages) > 30
    said = json.dumps(messages, ensure_ascii=False)
    names = {column for entity in EntityType for column in CATALOG[entity].columns}
    assert [value for value in values - names if value in said] == []


async def test_dry_run_sends_no_write(target: Target, make_sink: MakeSink) -> None:
    await run(await make_sink(), NEW)
    before, since = await target.rows(), await target.latest()
    attempt = await run(await make_sink(dry_run=True), UPDATE)
    assert attempt.failures == ()
    assert {call.split()[0] for call in await target.calls(since)} == {"Retrieve"}
    assert await target.rows() == before


@pytest.mark.parametrize(("batch_size", "strategy"), [(1, "replace"), (10, "replace"), (10, "reconcile")])
async def test_a_stormy_stream_of_many_consumers_ends_with_the_expected_rows(
    target: Target, make_sink: MakeSink, batch_size: int, strategy: str
) -> None:
    """Every event is run until it succeeds, in order per consumer, with many consumers at the same time."""
    sink = await make_sink(batch_size, timeout_seconds=1.0, strategy=strategy)
    for kind in ("row_error_transient", "server_fault", "http_503", "reset", "malformed_xml", "rate_limited"):
        await target.fault(kind, probability=0.003)
        if kind != "row_error_transient":
            await target.fault(kind, probability=0.003, after=True)
    await target.fault("security_fault", probability=0.01)
    await target.fault("expire_tokens", probability=0.01)
    events = list(sample_events(120, seed=6, consumers=25))
    lanes: dict[str, list[ProfileEvent]] = {}
    for one in events:
        lanes.setdefault(one.consumer_id, []).append(one)
    failed = 0

    async def work(lane: list[ProfileEvent]) -> None:
        nonlocal failed
        for one in lane:
            while (attempt := await run(sink, one)).failures:
                failed += 1
                assert isinstance(decide(attempt, attempts_left=True), TryAgain)

    async with asyncio.timeout(120):
        await asyncio.gather(*(work(lane) for lane in lanes.values()))
    assert failed > 3
    assert without_nulls(await target.rows()) == without_nulls(expected_rows(events, CATALOG))


# Keys as SQL Server compares them


def of(consumer_id: str, operation: Operation = Operation.NEW, **changes: Any) -> ProfileEvent:
    consumer = None if operation is Operation.DELETE else {"ConsumerId": consumer_id, "FirstName": "Ann"}
    return event(operation, **{"consumer_id": consumer_id, "consumer": consumer, "entities": {}, **changes})


@pytest.mark.parametrize("strategy", ["replace", "reconcile"])
@pytest.mark.parametrize(
    "what",
    [
        of("C-1", Operation.UPDATE, entities={CONTACT: ({"ContactId": "k-9"},)}),
        of("C-1", Operation.DELETE, delete_scope=DeleteScope.PROFILE),
    ],
    ids=["UPDATE", "DELETE"],
)
async def test_the_rows_of_a_consumer_whose_id_differs_by_case_are_left_alone(
    target: Target, make_sink: MakeSink, strategy: str, what: ProfileEvent
) -> None:
    sink = await make_sink(strategy=strategy)
    assert (await run(sink, NEW)).failures == ()
    before = await target.rows()
    attempt = await run(sink, what)
    assert {failure.code for failure in attempt.failures} == {"CMT-CONSUMER-SPELLING"}
    assert decide(attempt, attempts_left=True) == Settle(Outcome.FAILED, attempt.failures[0], True, True)
    assert await target.rows() == before


async def test_a_value_that_xml_cannot_carry_is_no_obstacle_to_an_erasure(target: Target, make_sink: MakeSink) -> None:
    """Marketing Cloud's answer to a Retrieve of a row into which an import has brought a control character."""
    sink = await make_sink()
    assert (await run(sink, of("c-1", entities={PET: ({"PetId": "p-1", "Name": "Bello"},)}))).failures == ()
    body = retrieved([{"ConsumerId": "c-1", "PetId": "p-1", "Name": "a-b"}]).replace(b"a-b", b"a&#x1F;b").decode()
    answer = {"operation": "Retrieve", "dataExtension": "CMT_Pet", "consumerId": "c-1", "status": 200, "body": body}
    await target.fault("answer", **answer)
    assert (await run(sink, of("c-1", Operation.DELETE, delete_scope=DeleteScope.PROFILE))).failures == ()
    assert not any((await target.rows()).values())
