"""The client against the simulator: writes arrive, and faults on the way are handled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.bundled import schema_path
from app.cmt import canary
from app.cmt import client as cmt_client
from app.cmt.call import always
from app.cmt.client import CmtClient
from app.cmt.errors import CallError, CallFailed
from app.cmt.results import write_results
from app.cmt.rights import Right
from app.delivery.errors import lookup
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType, Row
from app.settings import CmtSettings
from app.simulator.server import Simulator

CONSUMER, CONTACT, PET = EntityType.CONSUMER, EntityType.CONTACT, EntityType.PET
ANN: Row = {"ConsumerId": "c-ann", "EmailAddress": "ann.lee@example.com", "FirstName": "Ann", "Country": "DE"}


class Target:
    """The simulator, and what the client reported to its observer."""

    def __init__(self, simulator: Simulator, http: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.url = simulator.url
        self.seen: list[tuple[str, str, str]] = []
        self.seconds: list[float] = []
        self.tokens: list[str] = []
        self.rights: list[tuple[Right, str, bool]] = []
        self._http = http

    def call(self, operation: str, entity: str, result: str, seconds: float) -> None:
        self.seen.append((operation, entity, result))
        self.seconds.append(seconds)

    def token(self, result: str) -> None:
        self.tokens.append(result)

    def right(self, right: Right, entity: str, data_extension: str, *, granted: bool) -> None:
        self.rights.append((right, data_extension, granted))

    async def fault(self, kind: str, **rule: Any) -> None:
        async with self._http.post(f"{self.url}/_sim/faults", json={"kind": kind, **rule}) as response:
            assert response.status == 200, await response.text()

    async def calls(self) -> list[dict[str, Any]]:
        async with self._http.get(f"{self.url}/_sim/calls") as response:
            calls: list[dict[str, Any]] = (await response.json())["calls"]
            return calls

    async def rows(self, data_extension: str) -> list[dict[str, Any]]:
        async with self._http.get(f"{self.url}/_sim/rows/{data_extension}") as response:
            rows: list[dict[str, Any]] = (await response.json())["rows"]
            return rows

    async def tokens_issued(self) -> int:
        async with self._http.get(f"{self.url}/_sim/stats") as response:
            return int((await response.json())["tokensIssued"])


Connect = Callable[..., Awaitable[CmtClient]]


@pytest.fixture
def catalog() -> Catalog:
    return parse_catalog(schema_path("data-extensions.json").read_bytes())


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with Simulator() as simulator, aiohttp.ClientSession() as http:
        yield Target(simulator, http)


@pytest.fixture
async def connect(target: Target, catalog: Catalog) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def make(patience: float | None = None, **settings: Any) -> CmtClient:
            given = {
                "auth_url": target.url,
                "client_id": "simulator",
                "client_secret": "simulator-secret",
                "timeout_seconds": 5.0,
            } | settings
            client = CmtClient(CmtSettings.model_validate(given), catalog, observe=target, patience=patience)
            return await stack.enter_async_context(client)

        yield make


async def error_of(call: Awaitable[object]) -> CallError:
    with pytest.raises(CallFailed) as caught:
        await call
    return caught.value.error


async def test_rows_are_inserted_then_updated_then_deleted(target: Target, connect: Connect) -> None:
    client = await connect()
    assert [result.ok for result in await client.upsert([(CONSUMER, ANN)])] == [True]
    await client.upsert([(CONSUMER, {"ConsumerId": "c-ann", "FirstName": "Anna", "Country": None})])
    (row,) = await target.rows("CMT_Consumer")
    assert row["FirstName"] == "Anna"
    assert row["EmailAddress"] == "ann.lee@example.com"
    assert not row["Country"]
    assert [result.ok for result in await client.delete([(CONSUMER, ANN)])] == [True]
    assert await target.rows("CMT_Consumer") == []
    assert target.seen == [
        ("upsert", "consumer", "ok"),
        ("upsert", "consumer", "ok"),
        ("delete", "consumer", "ok"),
    ]
    assert all(0 < seconds < 5 for seconds in target.seconds)


async def test_any_value_comes_back_as_it_was_sent(connect: Connect) -> None:
    client = await connect()
    texts = ["a & <b> \"c\" 'd'", "línea\r\nnew\ttab", "  blanks  ", "日本語 🐶", "]]>", "token-goes-here", "&amp;"]
    for number, text in enumerate(texts):
        await client.upsert(
            [(PET, {"ConsumerId": "c 1 & co", "PetId": number, "Name": text, "WeightKg": Decimal("4.50")})]
        )
    rows = await client.retrieve(PET, "c 1 & co")
    assert {row["PetId"]: row["Name"] for row in rows} == {str(number): text for number, text in enumerate(texts)}
    assert {row["WeightKg"] for row in rows} == {"4.50"}


async def test_deleting_a_row_that_is_gone_is_fine(connect: Connect) -> None:
    client = await connect()
    assert (await client.delete([(PET, {"ConsumerId": "c1", "PetId": "none"})]))[0].ok


async def test_only_the_consumers_own_rows_are_retrieved_with_all_columns(connect: Connect, catalog: Catalog) -> None:
    client = await connect()
    await client.upsert([(PET, {"ConsumerId": owner, "PetId": pet}) for owner in ("c1", "c2") for pet in "xy"])
    rows = await client.retrieve(PET, "c1")
    assert {(row["ConsumerId"], row["PetId"]) for row in rows} == {("c1", "x"), ("c1", "y")}
    assert set(rows[0]) == set(catalog[PET].columns)
    assert await client.retrieve(PET, "c3") == []


async def test_a_retrieve_follows_all_pages(target: Target, connect: Connect) -> None:
    client = await connect()
    for start in range(0, 2600, 100):
        await client.upsert([(PET, {"ConsumerId": "c1", "PetId": start + number}) for number in range(100)])
    rows = await client.retrieve(PET, "c1")
    assert sorted(int(str(row["PetId"])) for row in rows) == list(range(2600))
    assert target.seen[-2:] == [("retrieve", "pet", "ok")] * 2


async def test_a_row_error_names_the_column_and_hides_the_value(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("row_error", times=1)
    (result,) = await client.upsert([(CONSUMER, ANN)])
    assert (result.ok, result.code) == (False, "CMT-ROW-INVALID")
    assert "[EmailAddress]" in (result.message or "")
    assert [error.column for error in result.column_errors] == ["EmailAddress"]
    assert "ann" not in repr(result).casefold()
    assert target.seen == [("upsert", "consumer", "CMT-ROW-INVALID")]


UUID = re.compile(r"[0-9a-f-]{36}")


async def test_a_failure_names_the_request_of_its_answer_and_nothing_else_does(
    target: Target, connect: Connect
) -> None:
    client = await connect(timeout_seconds=0.5)
    (result,) = await client.upsert([(CONSUMER, ANN)])
    assert result.request_id == ""
    await target.fault("row_error", times=1)
    (result,) = await client.upsert([(CONSUMER, ANN)])
    assert UUID.fullmatch(result.request_id)
    status = {"overallStatus": "Error: no such column", "operation": "Retrieve", "times": 1}
    await target.fault("answer", **status)
    error = await error_of(client.retrieve(CONSUMER, "c-1"))
    assert UUID.fullmatch(error.request_id)
    await target.fault("timeout", times=1)
    assert (await error_of(client.upsert([(CONSUMER, ANN)]))).request_id == ""
    await target.fault("token_500")
    await target.fault("expire_tokens", times=1)
    assert (await error_of((await connect()).upsert([(CONSUMER, ANN)]))).request_id == ""


async def test_a_deadlock_is_told_from_a_permanent_row_error(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("row_error_transient", times=1)
    (result,) = await client.upsert([(CONSUMER, ANN)])
    assert result.code == "CMT-ROW-CONTENTION"


async def test_in_a_batch_the_good_rows_are_written_and_the_bad_ones_named(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("row_error", dataExtension="CMT_Pet", times=1)
    results = await client.upsert(
        [
            (CONTACT, {"ConsumerId": "c1", "ContactId": "k", "Value": "\x00"}),
            (PET, {"ConsumerId": "c1", "PetId": "first", "Name": "Rex"}),
            (PET, {"ConsumerId": "c1"}),
            (PET, {"ConsumerId": "c1", "PetId": "second", "Name": "Tom"}),
            (CONTACT, {"ConsumerId": "c1", "ContactId": "x"}),
        ]
    )
    assert [(result.ordinal, result.code) for result in results] == [
        (0, "CMT-NOT-XML-TEXT"),
        (1, "CMT-ROW-INVALID"),
        (2, "CMT-ROW-MISSING-KEY"),
        (3, None),
        (4, None),
    ]
    assert [row["PetId"] for row in await target.rows("CMT_Pet")] == ["second"]
    assert [row["ContactId"] for row in await target.rows("CMT_Contact")] == ["x"]
    assert target.seen == [("upsert", "mixed", "CMT-ROW-INVALID")]


async def test_nothing_is_sent_when_no_row_can_be(target: Target, connect: Connect) -> None:
    client = await connect()
    assert await client.upsert([]) == []
    assert [result.code for result in await client.delete([(PET, {"ConsumerId": "c1", "PetId": ""})])] == [
        "CMT-ROW-MISSING-KEY"
    ]
    assert (await error_of(client.retrieve(PET, "c\x01"))).code == "CMT-NOT-XML-TEXT"
    assert await target.calls() == []


@pytest.mark.parametrize("kind", ["expire_tokens", "security_fault"])
@pytest.mark.parametrize("operation", ["upsert", "delete", "retrieve"])
async def test_a_token_that_expires_during_a_call_is_replaced_and_the_call_repeated(
    target: Target, connect: Connect, kind: str, operation: str
) -> None:
    client = await connect()
    await client.upsert([(CONSUMER, ANN)])
    await target.fault(kind, times=1)
    if operation == "retrieve":
        assert len(await client.retrieve(CONSUMER, "c-ann")) == 1
    else:
        call = client.upsert if operation == "upsert" else client.delete
        assert [result.ok for result in await call([(CONSUMER, ANN)])] == [True]
    assert target.tokens == ["ok", "ok"]
    assert target.seen[-1] == (operation, "consumer", "ok")


async def test_tokens_that_worked_may_expire_any_number_of_times(target: Target, connect: Connect) -> None:
    client = await connect()
    for _ in range(5):
        assert (await client.upsert([(CONSUMER, ANN)]))[0].ok
        await target.fault("expire_tokens", times=1)
    assert (await client.upsert([(CONSUMER, ANN)]))[0].ok
    assert target.tokens == ["ok"] * 6


async def test_one_new_token_serves_all_calls_whose_token_expired(target: Target, connect: Connect) -> None:
    client = await connect()
    await client.upsert([(CONSUMER, ANN)])
    await target.fault("expire_tokens")
    rows: list[Row] = [{"ConsumerId": f"c{number}"} for number in range(40)]
    results = await asyncio.gather(*(client.upsert([(CONSUMER, row)]) for row in rows))
    assert all(result.ok for (result,) in results)
    assert await target.tokens_issued() == 2


async def test_tokens_of_one_second_serve_for_many_seconds(catalog: Catalog) -> None:
    async with Simulator(token_ttl=1) as simulator:
        settings = CmtSettings(auth_url=simulator.url, client_id="simulator", client_secret="simulator-secret")  # type: ignore[arg-type]
        async with CmtClient(settings, catalog) as client:
            async with asyncio.timeout(20):
                while simulator.tokens.issued < 4:
                    assert (await client.upsert([(CONSUMER, ANN)]))[0].ok


async def test_a_token_that_is_never_accepted_ends_in_one_error_and_no_storm(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("security_fault")
    for _ in range(20):
        assert (await error_of(client.upsert([(CONSUMER, ANN)]))).code == "CMT-AUTH"
    assert len(await target.calls()) == 40
    assert await target.tokens_issued() <= 3


@pytest.mark.parametrize(
    ("kind", "code", "unknown", "sends"),
    [
        ("reset", "CMT-CONNECTION", True, 3),
        ("http_503", "CMT-UNAVAILABLE", True, 3),
        ("html_500", "CMT-UNAVAILABLE", True, 3),
        ("malformed_xml", "CMT-MALFORMED", True, 3),
        ("rate_limited", "CMT-RATE-LIMITED", False, 1),
        ("maintenance", "CMT-MAINTENANCE", False, 1),
        ("server_fault", "CMT-SERVER-FAULT", True, 1),
    ],
)
async def test_failures_of_a_whole_call(
    target: Target, connect: Connect, kind: str, code: str, unknown: bool, sends: int
) -> None:
    client = await connect()
    await target.fault(kind)
    for call in (
        client.upsert([(CONSUMER, ANN)]),
        client.delete([(CONSUMER, ANN)]),
        client.retrieve(CONSUMER, "c-ann"),
    ):
        error = await error_of(call)
        assert (error.code, error.outcome_unknown) == (code, unknown)
        assert "CMT_Consumer" in error.message
        assert "ann" not in error.message.casefold()
    assert len(await target.calls()) == 3 * sends
    assert {result for _, _, result in target.seen} == {code}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"operation": "Retrieve", "overallStatus": "Error: Timeout expired."}, "CMT-BUSY"),
        ({"operation": "Retrieve", "overallStatus": "Error: never seen"}, "CMT-RETRIEVE-FAILED"),
        ({"status": 429, "body": '{"errorcode": 50200}'}, "CMT-BLOCKED"),
        ({"faultCode": "Client", "faultMessage": "Timeout expired."}, "CMT-BUSY"),
    ],
)
async def test_answers_that_may_pass(target: Target, connect: Connect, answer: dict[str, Any], code: str) -> None:
    client = await connect()
    await target.fault("answer", **answer)
    error = await error_of(client.retrieve(CONSUMER, "c-ann"))
    assert error.code == code
    assert lookup(error.code).error_class.retried


@pytest.mark.parametrize("kind", ["deadlock_row", "ok_but_unknown"])
async def test_rows_that_are_to_be_written_again(target: Target, connect: Connect, kind: str) -> None:
    client = await connect()
    await target.fault(kind, times=1)
    (result,) = await client.upsert([(CONSUMER, ANN)])
    assert not result.ok
    assert lookup(result.code or "").error_class.retried
    assert (await client.upsert([(CONSUMER, ANN)]))[0].ok


@pytest.mark.parametrize("kind", ["reset", "http_503", "html_500", "malformed_xml"])
@pytest.mark.parametrize("after", [False, True])
async def test_two_transport_errors_have_no_effect(target: Target, connect: Connect, kind: str, after: bool) -> None:
    client = await connect()
    await target.fault(kind, times=2, after=after)
    assert (await client.upsert([(CONSUMER, ANN)]))[0].ok
    assert len(await target.rows("CMT_Consumer")) == 1


async def test_a_call_without_an_answer_ends_in_time_and_is_not_sent_again(target: Target, connect: Connect) -> None:
    client = await connect(timeout_seconds=0.3)
    await target.fault("timeout")
    async with asyncio.timeout(10):
        error = await error_of(client.upsert([(CONSUMER, ANN)], permit=(permit := Waits())))
    assert (error.code, error.outcome_unknown) == ("CMT-TIMEOUT", True)
    assert error.retry_after == permit.late == client._settings.timeout_seconds, "it may still be carried out"
    assert len(target.seen) == 1


async def test_a_read_without_an_answer_will_change_nothing_late(target: Target, connect: Connect) -> None:
    client = await connect(timeout_seconds=0.3)
    await target.fault("timeout")
    error = await error_of(client.retrieve(CONSUMER, "c-1", permit=(permit := Waits())))
    assert (error.code, permit.late) == ("CMT-TIMEOUT", 0.0)


async def test_the_permit_is_asked_before_every_send_and_its_refusal_stops_the_call(
    target: Target, connect: Connect
) -> None:
    class LeaseLost(Exception):
        pass

    asked: list[int] = []

    def permit() -> None:
        asked.append(len(target.seen))
        if len(asked) == 2:
            raise LeaseLost

    client = await connect()
    await target.fault("reset")
    with pytest.raises(LeaseLost):
        await client.upsert([(CONSUMER, ANN)], permit=permit)
    assert asked == [0, 1]
    assert len(await target.calls()) == 1


async def test_wrong_credentials_are_reported_and_not_tried_again_and_again(target: Target, connect: Connect) -> None:
    client = await connect(client_secret="wrong-secret")
    for _ in range(20):
        error = await error_of(client.upsert([(CONSUMER, ANN)]))
        assert error.code == "CMT-TOKEN-REFUSED"
        assert "wrong-secret" not in repr(error)
    assert len(target.tokens) == 1
    assert target.seen == []


async def test_a_short_failure_of_the_token_endpoint_has_no_effect(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("token_500", times=2)
    assert (await client.upsert([(CONSUMER, ANN)]))[0].ok


async def test_a_throttling_token_endpoint_says_when_to_come_back(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("token_429", times=1)
    error = await error_of(client.upsert([(CONSUMER, ANN)]))
    assert error.code == "CMT-TOKEN-THROTTLED"
    assert error.retry_after
    assert error.retry_after > 1


async def test_a_target_that_is_not_there_is_a_connection_error(catalog: Catalog) -> None:
    async with Simulator() as simulator:
        url = simulator.url
    settings = CmtSettings(auth_url=url, client_id="x", client_secret="y", timeout_seconds=5)  # type: ignore[arg-type]
    async with CmtClient(settings, catalog) as client:
        error = await error_of(client.upsert([(CONSUMER, ANN)]))
    assert error.code == "CMT-TOKEN-UNAVAILABLE"
    assert "no connection to 127.0.0.1" in error.message


async def test_an_unknown_data_extension_is_named(target: Target, connect: Connect, tmp_path: Path) -> None:
    text = schema_path("data-extensions.json").read_text().replace("CMT_Pet", "CMT_Parrot")
    settings = CmtSettings(auth_url=target.url, client_id="simulator", client_secret="simulator-secret")  # type: ignore[arg-type]
    async with CmtClient(settings, parse_catalog(text)) as client:
        (result,) = await client.upsert([(PET, {"ConsumerId": "c1", "PetId": "p"})])
        assert result.code == "CMT-DATA-EXTENSION"
        assert (await error_of(client.retrieve(PET, "c1"))).code == "CMT-RETRIEVE-ERROR"


async def test_calls_keep_to_the_rate(target: Target, connect: Connect) -> None:
    client = await connect(rate_per_second=20)
    clock = asyncio.get_running_loop().time
    await client.token()
    began = clock()
    await asyncio.gather(*(client.upsert([(CONSUMER, {"ConsumerId": f"c{number}"})]) for number in range(11)))
    assert clock() - began >= 0.5


async def test_as_many_calls_as_allowed_run_at_the_same_time(catalog: Catalog) -> None:
    async with Simulator(latency_ms=300) as simulator:
        settings = CmtSettings(auth_url=simulator.url, client_id="simulator", client_secret="simulator-secret")  # type: ignore[arg-type]
        async with CmtClient(settings, catalog, concurrency=100) as client:
            await client.token()
            async with asyncio.timeout(10):  # one after the other they would take 30 s
                await asyncio.gather(
                    *(client.upsert([(CONSUMER, {"ConsumerId": f"c{number}"})]) for number in range(100))
                )


async def test_a_cancelled_call_leaves_the_client_usable(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("timeout", times=1)
    call = asyncio.create_task(client.upsert([(CONSUMER, ANN)]))
    while not await target.calls():
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await client.upsert([(CONSUMER, ANN)]))[0].ok


async def test_a_throttled_client_makes_fewer_calls_at_a_time_and_more_again_when_it_is_let(
    target: Target, connect: Connect
) -> None:
    client = await connect()
    most = client.calls_allowed
    await target.fault("rate_limited", times=4)
    for _ in range(4):
        assert (await error_of(client.upsert([(CONSUMER, ANN)]))).code == "CMT-RATE-LIMITED"
    assert client.calls_allowed == 1
    for _ in range(6):
        await client.upsert([(CONSUMER, ANN)])
    assert 1 < client.calls_allowed < most


class Waits:
    """A permit that notes how long it is asked to wait, and does not wait."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        self.asked = 0
        self.waits: list[float] = []
        self.late = 0.0
        self._meanwhile = meanwhile

    def __call__(self) -> None:
        self.asked += 1

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self._meanwhile is not None:
            await self._meanwhile()

    def may_land_late(self, seconds: float) -> None:
        self.late = seconds


@pytest.mark.parametrize("operation", ["upsert", "delete", "retrieve"])
async def test_a_throttled_call_waits_and_is_sent_again(target: Target, connect: Connect, operation: str) -> None:
    client = await connect(patience=60)
    await target.fault("rate_limited", times=7)
    permit = Waits()
    if operation == "retrieve":
        assert await client.retrieve(CONSUMER, "c-ann", permit=permit) == []
    else:
        call = client.upsert if operation == "upsert" else client.delete
        assert [result.ok for result in await call([(CONSUMER, ANN)], permit=permit)] == [True]
    assert (permit.asked, len(permit.waits)) == (8, 7), "the permit is asked again each time"
    assert all(1 <= wait <= 60 for wait in permit.waits)
    assert permit.waits[6] > permit.waits[0]
    assert client._in_flight._running == 0


async def test_how_long_a_throttled_call_waits_is_for_marketing_cloud_to_say(target: Target, connect: Connect) -> None:
    client = await connect(patience=60)
    await target.fault("answer", status=429, headers={"Retry-After": "40"}, times=1)
    permit = Waits()
    assert (await client.upsert([(CONSUMER, ANN)], permit=permit))[0].ok
    assert 40 <= permit.waits[0] <= 44


async def test_a_call_that_waits_for_a_throttled_token_is_throttled_itself(target: Target, connect: Connect) -> None:
    client = await connect(patience=60)
    await target.fault("token_429", times=1)
    waits: list[float] = []

    async def later() -> None:
        waits.append(permit.waits[-1])
        client._tokens._held_until = 0.0  # time flies

    permit = Waits(later)
    assert (await client.upsert([(CONSUMER, ANN)], permit=permit))[0].ok
    assert len(waits) == 1


async def test_only_the_rows_that_were_throttled_are_sent_again(target: Target, connect: Connect) -> None:
    client = await connect(patience=60)
    await target.fault("answer", dataExtension="CMT_Pet", rowCode=17, rowMessage="Rate Limited", times=2)
    rows: list[tuple[EntityType, Row]] = [(PET, {"ConsumerId": "c1", "PetId": pet}) for pet in "abcd"]
    permit = Waits()
    results = await client.upsert(rows, permit=permit)
    assert [(result.ok, result.ordinal) for result in results] == [(True, number) for number in range(4)]
    assert len(permit.waits) == 1
    assert sorted(row["PetId"] for row in await target.rows("CMT_Pet")) == list("abcd")


async def test_a_call_that_is_throttled_while_others_are_not_is_left_to_its_event(
    target: Target, connect: Connect
) -> None:
    client = await connect(patience=0)
    await target.fault("rate_limited", consumerId="c-ann")
    nobody_else = Waits()
    alone = asyncio.create_task(client.upsert([(CONSUMER, ANN)], permit=nobody_else))
    while len(nobody_else.waits) < 20:
        await asyncio.sleep(0.001)
    assert not alone.done(), "the whole account is throttled"
    assert (await client.upsert([(CONSUMER, {"ConsumerId": "c-bob"})]))[0].ok
    assert (await error_of(alone)).code == "CMT-RATE-LIMITED"


@pytest.mark.parametrize(
    ("fault", "gets_through"),
    [
        ({"kind": "http_503"}, False),
        ({"kind": "server_fault"}, False),
        ({"kind": "answer", "status": 403}, False),
        ({"kind": "answer", "status": 400}, False),
        ({"kind": "answer", "status": 400, "consumerId": "c-ann"}, True),
        ({"kind": "rate_limited"}, True),
        ({"kind": "answer", "operation": "Retrieve", "overallStatus": "Error: never seen"}, True),
        ({"kind": "http_503", "consumerId": "c-ann"}, True),
    ],
)
async def test_whether_something_gets_through(
    target: Target, connect: Connect, fault: dict[str, Any], gets_through: bool
) -> None:
    client = await connect(patience=60)
    await target.fault(**fault)
    assert await canary.gets_through(client) is gets_through


NO_PERMISSION = "Error: API Permission Failed. Object: DataExtensionObject"


@pytest.mark.parametrize("denied", ["Retrieve", "Update", "Delete"])
async def test_what_an_account_may_do_is_found_out(
    target: Target, connect: Connect, catalog: Catalog, denied: str
) -> None:
    client = await connect()
    how = {"overallStatus": NO_PERMISSION} if denied == "Retrieve" else {"rowCode": 4711, "rowMessage": NO_PERMISSION}
    await target.fault("answer", operation=denied, **how)
    found = {right: await canary.allows(client, catalog, right, always) for right in Right}
    assert found == {Right.READ: denied != "Retrieve", Right.WRITE: denied != "Delete"}


async def test_a_missing_right_is_told_and_also_when_it_is_there_again(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("answer", operation="Retrieve", dataExtension="CMT_Pet", overallStatus=NO_PERMISSION, times=2)
    for _ in range(2):
        assert (await error_of(client.retrieve(PET, "c-1"))).code == "CMT-PERMISSION"
    await client.retrieve(CONTACT, "c-1")
    await client.retrieve(PET, "c-1")
    assert target.rights == [
        (Right.READ, "CMT_Pet", False),
        (Right.READ, "CMT_Pet", False),
        (Right.READ, "CMT_Pet", True),
    ]


@pytest.mark.parametrize("side", ["Client", "Security"])
async def test_a_fault_about_authorisation_is_no_wrong_wsdl_and_worth_a_new_token(
    target: Target, connect: Connect, side: str
) -> None:
    client = await connect()
    await target.fault("answer", faultCode=side, faultMessage="The request is not authorized.", times=1)
    assert await client.retrieve(PET, "c-1") == []
    await target.fault("answer", faultCode=side, faultMessage="The request is not authorized.")
    assert (await error_of(client.retrieve(PET, "c-1"))).code == "CMT-PERMISSION"


async def test_without_patience_a_throttled_call_fails_at_once(target: Target, connect: Connect) -> None:
    client = await connect()
    await target.fault("rate_limited", times=1)
    permit = Waits()
    assert (await error_of(client.upsert([(CONSUMER, ANN)], permit=permit))).code == "CMT-RATE-LIMITED"
    assert permit.waits == []


async def test_while_a_good_answer_is_read_the_next_call_may_be_under_way(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await connect()
    under_way: list[int] = []

    def read(*args: Any) -> Any:
        under_way.append(client._in_flight._running)
        return write_results(*args)

    monkeypatch.setattr(cmt_client, "write_results", read)
    await client.upsert([(CONSUMER, ANN)])
    assert under_way == [0]
    assert client._in_flight._running == 0
