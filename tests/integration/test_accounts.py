"""Markets and their accounts, against a simulator behind a front that sees which account each call was made for."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.bundled import schema_path
from app.cmt.call import always
from app.delivery.outcome import UNKNOWN_MARKET, Attempt, Settle
from app.flows.accounts import Accounts
from app.observe.metrics import Metrics
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType
from app.profile.event import DeleteScope, Operation, ProfileEvent
from app.profile.outcome_table import decide
from app.settings import CmtSettings, SyncSettings
from app.simulator.server import Simulator

BUNDLED = json.loads(schema_path("data-extensions.json").read_bytes())
TOKEN = re.compile(rb">([^<>]*)</(?:\w+:)?fueloauth>")
DATA_EXTENSION = re.compile(rb"<(?:\w+:)?CustomerKey>([^<]*)<|DataExtensionObject\[([^\]]*)\]")
BREAKER_FAILURES = 3


class Front:
    """Passes all requests to the simulator, except those for an account that is down."""

    def __init__(self, simulator: Simulator, http: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.url = ""
        self.down: set[str | None] = set()
        self.refused: set[str | None] = set()
        self.calls: list[tuple[str | None, str]] = []
        self.learned_from: list[str | None] = []
        self.tokens: Counter[str | None] = Counter()
        self._account_of: dict[bytes, str | None] = {}
        self._http = http

    async def token(self, request: web.Request) -> web.Response:
        asked = await request.json()
        account = str(asked["account_id"]) if "account_id" in asked else None
        self.tokens[account] += 1
        if account in self.refused:
            return web.json_response({"error": "invalid_client"}, status=401)
        async with self._http.post(f"{self.simulator.url}/v2/token", json=asked) as answer:
            document = await answer.json()
        self._account_of[document["access_token"].encode()] = account
        return web.json_response(document | {"soap_instance_url": f"{self.url}/"})

    async def soap(self, request: web.Request) -> web.Response:
        body = await request.read()
        found, table = TOKEN.search(body), DATA_EXTENSION.search(body)
        assert found is not None
        account = self._account_of[found[1]]
        if b">DataExtensionField<" in body:
            self.learned_from.append(account)
            return await self._passed_on(request, body)
        assert table is not None
        self.calls.append((account, (table[1] or table[2]).decode()))
        if account in self.down:
            return web.Response(status=503)
        return await self._passed_on(request, body)

    async def _passed_on(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: request.headers[name] for name in ("Content-Type", "SOAPAction")}
        async with self._http.post(f"{self.simulator.url}/Service.asmx", data=body, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="text/xml")

    async def rows(self, table: str) -> list[str]:
        """The consumers in a data extension."""
        async with self._http.get(f"{self.simulator.url}/_sim/rows/{table}") as answer:
            return sorted(row["ConsumerId"] for row in (await answer.json())["rows"])


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    """The simulator also has the data extensions of Germany."""
    tables = BUNDLED["dataExtensions"]
    german = {f"DE {name}": {**table, "customerKey": f"DE_{table['customerKey']}"} for name, table in tables.items()}
    file = tmp_path / "simulator.json"
    file.write_text(json.dumps({"dataExtensions": {**tables, **german}}))
    async with Simulator(data_extensions=file) as simulator, aiohttp.ClientSession() as http:
        front = Front(simulator, http)
        app = web.Application()
        app.router.add_post("/v2/token", front.token)
        app.router.add_post("/Service.asmx", front.soap)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        front.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield front
        await runner.cleanup()


def catalog_of(markets: dict[str, Any] | None, **more: Any) -> Catalog:
    return parse_catalog(json.dumps({**BUNDLED, **({} if markets is None else {"markets": markets}), **more}))


@asynccontextmanager
async def accounts_of(
    front: Front, catalog: Catalog, *, metrics: Metrics | None = None, **settings: Any
) -> AsyncIterator[Accounts]:
    given: dict[str, Any] = {
        "auth_url": front.url,
        "client_id": "simulator",
        "client_secret": "simulator-secret",
    } | settings
    sync = SyncSettings(breaker_failures=BREAKER_FAILURES, strategy=given.pop("strategy", "replace"))
    async with Accounts(CmtSettings.model_validate(given), sync, catalog, metrics or Metrics()) as accounts:
        yield accounts


async def write(accounts: Accounts, market: str, consumer_id: str = "c-1", **changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "event_id": "e-1",
        "operation": Operation.NEW,
        "consumer_id": consumer_id,
        "market": market,
        "occurred_at": "2026-01-01T00:00:00Z",
        "consumer": {"ConsumerId": consumer_id, "FirstName": "Jana"},
    }
    event = ProfileEvent.model_validate(values | changes)
    return await accounts.of(event.market).sink.apply(event, last_attempt=False, permit=always)


async def erase(accounts: Accounts, market: str, consumer: str) -> Attempt:
    return await write(
        accounts, market, consumer, operation=Operation.DELETE, delete_scope=DeleteScope.PROFILE, consumer=None
    )


GERMAN_TABLES = {
    entity.value: {"customerKey": f"DE_{BUNDLED['dataExtensions'][entity.value]['customerKey']}"}
    for entity in EntityType
}


async def test_without_markets_everything_goes_to_the_one_account(front: Front) -> None:
    async with accounts_of(front, catalog_of(None), account_id="510000") as accounts:
        for market in ("DE", "PL"):
            assert await write(accounts, market, f"c-{market}") == await write(accounts, market, f"c-{market}")
            assert accounts.of(market).account == "510000"
        assert list(accounts.breakers) == ["510000"]
    assert await front.rows("CMT_Consumer") == ["c-DE", "c-PL"]
    assert front.tokens == {"510000": 1}


async def test_rows_of_a_market_go_to_its_account_and_its_data_extensions(front: Front) -> None:
    catalog = catalog_of(
        {"DE": {"accountId": "510001", "dataExtensions": GERMAN_TABLES}, "AT": {"accountId": 510001}, "PL": {}}
    )
    async with accounts_of(front, catalog, account_id="510000") as accounts:
        for market in ("DE", "AT", "PL"):
            assert (await write(accounts, market, f"c-{market}")).failures == ()
        assert {market: accounts.of(market).account for market in ("DE", "AT", "PL")} == {
            "DE": "510001",
            "AT": "510001",
            "PL": "510000",
        }
        assert front.calls == [("510001", "DE_CMT_Consumer"), ("510001", "CMT_Consumer"), ("510000", "CMT_Consumer")]
        # Markets of one account share its token.
        assert front.tokens == {"510001": 1, "510000": 1}
        assert await front.rows("DE_CMT_Consumer") == ["c-DE"]
        assert await front.rows("CMT_Consumer") == ["c-AT", "c-PL"]
        assert (await erase(accounts, "DE", "c-DE")).failures == ()
        assert await front.rows("DE_CMT_Consumer") == []
        assert {table[:3] for _, table in front.calls[3:]} == {"DE_"}


async def test_an_account_named_once_more_is_the_same_account(front: Front) -> None:
    catalog = catalog_of({"DE": {"accountId": "510000"}, "PL": {}})
    async with accounts_of(front, catalog, account_id="510000") as accounts:
        await asyncio.gather(write(accounts, "DE"), write(accounts, "PL", "c-2"))
        assert list(accounts.breakers) == ["510000"]
    assert front.tokens == {"510000": 1}


async def test_an_account_that_no_market_belongs_to_is_never_asked(front: Front) -> None:
    async with accounts_of(front, catalog_of({"DE": {"accountId": "510001"}}), account_id="510000") as accounts:
        await write(accounts, "DE")
        assert list(accounts.breakers) == ["510001"]
    assert front.tokens == {"510001": 1}


async def test_a_market_that_is_not_listed_goes_to_the_default_if_there_is_one(front: Front) -> None:
    markets = {"DE": {"accountId": "510001"}}
    async with accounts_of(front, catalog_of(markets, defaultMarket={"accountId": "510009"})) as accounts:
        assert (await write(accounts, "PL")).failures == ()
        assert (await erase(accounts, UNKNOWN_MARKET, "c-2")).failures == ()
    assert {account for account, _ in front.calls} == {"510009"}


@pytest.mark.parametrize("market", ["PL", UNKNOWN_MARKET])
async def test_a_profile_to_delete_in_an_unknown_market_fails_for_good_and_no_call_is_made(
    front: Front, market: str
) -> None:
    async with accounts_of(front, catalog_of({"DE": {"accountId": "510001"}})) as accounts:
        attempt = await erase(accounts, market, "c-1")
    decision = decide(attempt, attempts_left=True)
    assert isinstance(decision, Settle)
    assert (decision.outcome, decision.dead_letter, decision.alert) == ("failed", True, True)
    assert decision.failure is not None
    assert decision.failure.code == "EVENT-MARKET-UNKNOWN"
    assert "defaultMarket" in decision.failure.message
    assert front.calls == []


async def test_what_goes_wrong_with_one_account_leaves_the_others_alone(front: Front) -> None:
    catalog = catalog_of({"DE": {"accountId": "510001"}, "PL": {"accountId": "510002"}, "FR": {"accountId": "510003"}})
    async with accounts_of(front, catalog) as accounts:
        front.down, front.refused = {"510001"}, {"510003"}
        down = await write(accounts, "DE")
        refused = await write(accounts, "FR")
        assert [failure.code for failure in down.failures] == ["CMT-UNAVAILABLE"]
        assert [failure.code for failure in refused.failures] == ["CMT-TOKEN-REFUSED"]
        for _ in range(10):
            assert (await write(accounts, "PL")).failures == ()
        async with asyncio.timeout(10):
            while not accounts.breakers["510001"].is_open:
                await asyncio.sleep(0.01)
        assert {account.name: account.breaker.is_open for account in accounts} == {
            "510001": True,  # the call and its two repeats, and nothing else gets through
            "510002": False,
            "510003": False,  # the engine opens it by what became of the event
        }
        troubles = {account.name: account.health.trouble for account in accounts}
        assert {name: trouble and trouble.code for name, trouble in troubles.items()} == {
            "510001": "CMT-UNAVAILABLE",
            "510002": None,
            "510003": "CMT-TOKEN-REFUSED",
        }
        # Wrong credentials are not tried with every call.
        for _ in range(20):
            await write(accounts, "FR")
        assert front.tokens["510003"] <= 2


async def test_each_account_has_a_rate_of_its_own_and_its_markets_share_it(front: Front) -> None:
    catalog = catalog_of(
        {"DE": {"accountId": "510001", "dataExtensions": GERMAN_TABLES}, "AT": {"accountId": "510001"}, "PL": {}}
    )
    async with accounts_of(front, catalog, rate_per_second=10) as accounts:
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(write(accounts, market, f"c-{n}") for n in range(3) for market in ("DE", "AT", "PL")))
        took = asyncio.get_running_loop().time() - started
    # Six calls of one account at ten a second ...
    assert took >= 0.5
    # ... and three of the other beside them.
    assert Counter(account for account, _ in front.calls) == {"510001": 6, None: 3}
    assert [account for account, _ in front.calls[-2:]] == ["510001", "510001"]


async def test_how_many_calls_are_allowed_is_said_of_each_account(front: Front) -> None:
    async with accounts_of(front, catalog_of({"DE": {"accountId": "1"}, "PL": {}})) as accounts:
        most = SyncSettings().concurrency
        assert accounts.calls_allowed == {"1": most, "default": most}


# Types of columns


async def learned(accounts: Accounts, market: str = "-") -> Catalog:
    """The market's data extensions when their types are known."""
    async with asyncio.timeout(20):
        while not accounts.of(market).typed.has_types:
            await asyncio.sleep(0.01)
    return accounts.of(market).typed


async def test_the_types_of_columns_are_learned_once_from_every_account(front: Front) -> None:
    markets = {"DE": {"accountId": "11", "dataExtensions": GERMAN_TABLES}, "AT": {"accountId": "11"}, "PL": {}}
    catalog = catalog_of(markets)
    async with accounts_of(front, catalog) as accounts:
        german, polish = await learned(accounts, "DE"), await learned(accounts, "PL")
        assert str(german[EntityType.PET].types["WeightKg"]) == "Decimal(8,2)"
        assert str(polish[EntityType.CONSUMER].types["BirthDate"]) == "Date"
        assert accounts.warnings == ()
    assert Counter(front.learned_from) == {"11": 14, None: 7}


async def test_what_differs_from_the_configuration_is_a_warning_and_work_goes_on(front: Front) -> None:
    tables = json.loads(json.dumps(BUNDLED["dataExtensions"]))
    tables["pet"]["columns"].append("Colour")
    tables["child"]["customerKey"] = "CMT_Kid"
    tables["contact"]["types"]["Value"] = "Text(4000)"
    catalog = parse_catalog(json.dumps({"dataExtensions": tables}))
    async with accounts_of(front, catalog) as accounts:
        async with asyncio.timeout(20):
            while len(accounts.warnings) < 3:
                await asyncio.sleep(0.01)
        assert [line.split(" ")[0].strip(":") for line in accounts.warnings] == ["CMT_Contact", "CMT_Kid", "CMT_Pet"]
        assert (await write(accounts, "DE")).failures == ()


async def test_while_an_account_cannot_be_asked_there_are_no_types_and_no_breaker_opens(front: Front) -> None:
    front.refused.add(None)
    catalog = catalog_of(None)
    async with accounts_of(front, catalog) as accounts:
        async with asyncio.timeout(20):
            while not front.tokens[None]:
                await asyncio.sleep(0.01)
        assert not accounts.of("DE").typed.has_types
        assert not any(breaker.is_open for breaker in accounts.breakers.values())


async def test_a_time_with_an_offset_is_not_written_again_when_types_are_known(front: Front) -> None:
    row = {"ConsumerId": "c-1", "CreatedAt": "2026-09-21T14:05:00.5Z", "BirthDate": "1990-02-01"}
    catalog = catalog_of(None)
    async with accounts_of(front, catalog, strategy="reconcile") as accounts:
        await learned(accounts)
        await asyncio.sleep(0)
        for _ in range(2):
            assert (await write(accounts, "DE", consumer=row)).failures == ()
    async with aiohttp.ClientSession() as http, http.get(f"{front.simulator.url}/_sim/calls?consumer=c-1") as answer:
        calls = [call["operation"] for call in (await answer.json())["calls"]]
    assert calls.count("Update") == 1


@pytest.mark.parametrize(("born", "kept"), [("2026-09-21T14:05:00.5", True), ("2026-09-21T14:05:00Z", False)])
async def test_an_erasure_is_not_synced_while_a_row_with_a_date_in_its_key_is_still_there(
    tmp_path: Path, born: str, kept: bool
) -> None:
    """The fraction of a second is stored but not returned, so the returned key does not address the row."""
    tables = json.loads(json.dumps(BUNDLED["dataExtensions"]))
    tables["pet"] |= {"primaryKey": ["ConsumerId", "BirthDate"], "types": {"BirthDate": "Date"}}
    file = tmp_path / "dated.json"
    file.write_text(json.dumps({"dataExtensions": tables}))
    catalog = parse_catalog(file.read_bytes())
    async with Simulator(data_extensions=file) as simulator, aiohttp.ClientSession() as http:
        front = Front(simulator, http)
        front.url = simulator.url
        async with accounts_of(front, catalog) as accounts:
            await learned(accounts)
            assert any("key column BirthDate is a Date" in line for line in accounts.warnings)
            rows = {EntityType.PET: [{"BirthDate": born, "Name": "Rex"}]}
            assert (await write(accounts, "DE", entities=rows)).failures == ()
            attempt = await erase(accounts, "DE", "c-1")
        assert [failure.code for failure in attempt.failures] == (["CMT-ROW-KEPT"] if kept else [])
        assert await front.rows("CMT_Pet") == (["c-1"] if kept else [])
        assert await front.rows("CMT_Consumer") == (["c-1"] if kept else [])
