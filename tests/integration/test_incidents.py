"""Incidents in ServiceNow: the desk and its client against the simulator, and against a ServiceNow that misbehaves."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from app.delivery.alert import Alert, AlertKind, correlation_id
from app.incidents.desk import IncidentDesk
from app.incidents.memory import ProcessMemory
from app.incidents.open_desk import open_desk
from app.incidents.open_letters import OpenCount
from app.incidents.servicenow import ServiceNow
from app.incidents.ticket_text import TicketOrigin
from app.incidents.tickets import Incident, TicketError
from app.settings import ConfigurationError, ServiceNowSettings, load
from app.simulator.server import Simulator

GROUP = "profile-sync"
ALERT = Alert("CMT-TIMEOUT", "consumer", "UPDATE", "DE", "3-17", "1f0a2b", "no answer", 1_763_000_000_000)


def settings(url: str, **values: Any) -> ServiceNowSettings:
    given = {"url": url, "username": "sync", "password": "pass-word", "assignment_group": "Campaign Support"} | values
    return ServiceNowSettings.model_validate(given)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(servicenow_credentials=("sync", "pass-word")) as running:
        yield running


async def incidents(simulator: Simulator) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(f"{simulator.url}/_sim/incidents") as response:
        found: list[dict[str, Any]] = (await response.json())["incidents"]
        return found


async def fault(simulator: Simulator, kind: str, **rule: Any) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{simulator.url}/_sim/faults", json={"kind": kind, **rule}) as response,
    ):
        assert response.status == 200, await response.text()
        return str((await response.json())["id"])


async def lift(simulator: Simulator, rule: str) -> None:
    async with aiohttp.ClientSession() as http, http.delete(f"{simulator.url}/_sim/faults/{rule}") as response:
        assert response.status == 200


async def close(simulator: Simulator, incident: dict[str, Any], state: str) -> None:
    address = f"{simulator.url}/api/now/table/incident/{incident['sys_id']}"
    async with (
        aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth("sync", "pass-word")}) as http,
        http.patch(address, json={"state": state}) as response,
    ):
        assert response.status == 200


async def test_alerts_become_one_incident_with_notes(simulator: Simulator) -> None:
    results: list[str] = []
    async with open_desk(settings(simulator.url, note_every_seconds=0), GROUP, on_result=results.append) as desk:
        for number in range(3):
            await desk.handle(replace(ALERT, event_id=f"3-{number}"))
        await desk.handle(replace(ALERT, entity="pet"))
        await desk.handle(replace(ALERT, kind=AlertKind.RESOLVE, message="answers again"))
    first, second = await incidents(simulator)
    assert first["correlation_id"] == f"{GROUP}:{ALERT.fingerprint}"
    assert first["assignment_group"] == "Campaign Support"
    assert "3-0" in first["description"]
    assert len(first["work_notes"]) == 3
    assert (first["state"], second["state"]) == ("6", "1")
    assert first["close_code"]
    assert first["close_notes"] == first["work_notes"][-1]
    assert second["correlation_id"] == "profile-sync:CMT-TIMEOUT:pet:UPDATE"
    assert results == ["created", "noted", "noted", "created", "resolved"]


async def test_another_desk_finds_the_open_incident_and_opens_a_new_one_after_it_was_closed(
    simulator: Simulator,
) -> None:
    for _ in range(2):
        async with open_desk(settings(simulator.url), GROUP) as desk:
            await desk.handle(ALERT)
    assert len(await incidents(simulator)) == 1
    for count, state in enumerate(("6", "7", "8"), start=2):
        await close(simulator, (await incidents(simulator))[-1], state)
        async with open_desk(settings(simulator.url), GROUP) as desk:
            await desk.handle(ALERT)
        assert len(await incidents(simulator)) == count


async def test_counted_alerts_become_a_note_by_themselves(simulator: Simulator) -> None:
    async with asyncio.timeout(15), open_desk(settings(simulator.url, note_every_seconds=0.3), GROUP) as desk:
        for _ in range(20):
            await desk.handle(ALERT)
        while not (await incidents(simulator))[0]["work_notes"]:
            await asyncio.sleep(0.02)
    (incident,) = await incidents(simulator)
    assert str(incident["work_notes"][0]).count("more alert") == 1


@pytest.mark.parametrize("kind", ["incident_500", "incident_429", "reset", "http_503"])
async def test_an_alert_waits_until_servicenow_takes_it(simulator: Simulator, kind: str) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    rule = {"operation": "Incident"} if kind in ("reset", "http_503") else {}
    await fault(simulator, kind, times=4, **rule)
    async with ServiceNow(settings(simulator.url)) as tickets:
        await IncidentDesk(tickets, GROUP, note_every_seconds=300, sleep=sleep).handle(ALERT)
    assert len(await incidents(simulator)) == 1
    # A search whose connection broke is repeated by aiohttp itself, once.
    assert len(slept) == (2 if kind == "reset" else 4)
    if kind == "incident_429":
        assert min(slept) >= 5  # what it asks for


async def test_oauth_gets_a_token_and_uses_it(simulator: Simulator) -> None:
    oauth = {"username": None, "password": None, "client_id": "sync", "client_secret": "pass-word"}
    async with ServiceNow(settings(simulator.url, **oauth)) as tickets:
        incident = await tickets.create({"correlation_id": "x", "short_description": "y"})
        assert await tickets.find_open("x") == incident


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "other-secret"},
        {"username": None, "password": None, "client_id": "sync", "client_secret": "other-secret"},
    ],
)
async def test_refused_credentials_are_named_without_being_shown(simulator: Simulator, wrong: dict[str, Any]) -> None:
    async with ServiceNow(settings(simulator.url, **wrong)) as tickets:
        with pytest.raises(TicketError, match="SERVICENOW_") as caught:
            await tickets.find_open("x")
    assert "other-secret" not in str(caught.value)


def test_a_user_name_that_cannot_be_sent_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="SERVICENOW_USERNAME"):
        ServiceNow(settings("https://x.example", username="a:b"))


class Counted(ServiceNow):
    """ServiceNow, with the number of requests that were sent to it."""

    requests = 0

    async def _request(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        self.requests += 1
        return await super()._request(method, path, **arguments)


class Index:
    """What the index of dead letters knows, by fingerprint."""

    def __init__(self) -> None:
        self.open: dict[str, OpenCount] = {}

    async def of(self, fingerprint: str) -> OpenCount | None:
        return self.open.get(fingerprint)


class Timed(IncidentDesk):
    """A desk whose clock the test moves and that does not really sleep."""

    def __init__(self, tickets: ServiceNow, index: Index, memory: ProcessMemory, now: float) -> None:
        self.now = now
        super().__init__(
            tickets,
            GROUP,
            note_every_seconds=NOTE_EVERY,
            origin=TicketOrigin(resolve_minutes=30, page="https://sync.example.com"),
            letters=index,
            memory=memory,
            clock=lambda: self.now,
            now_ms=lambda: int(self.now * 1000),
            sleep=self._pass_time,
        )

    async def _pass_time(self, seconds: float) -> None:
        self.now += seconds

    async def live(self, seconds: float) -> None:
        """Time passes, and the desk looks around as it does in the background."""
        end = self.now + seconds
        while self.now < end:
            self.now += 10
            await self.flush_due()
            await self.look_after()


NOTE_EVERY = 300.0
BEGAN = ALERT.at_ms


async def test_an_hour_without_servicenow_and_a_crash_then_two_incidents_with_the_true_counts(
    simulator: Simulator,
) -> None:
    """10,000 failures of one kind and 10 of another arrive while ServiceNow is down, and a worker is killed."""
    many = replace(ALERT, reason="CMT-ROW-INVALID", message="column EmailAddress: '***' is too long")
    few = replace(many, operation="NEW")
    index, memory = Index(), ProcessMemory()
    rule = await fault(simulator, "incident_500")
    async with Counted(settings(simulator.url)) as tickets:
        desk = Timed(tickets, index, memory, BEGAN / 1000)
        waiting = asyncio.create_task(desk.handle_record(None, many.to_bytes()))
        while desk.now < BEGAN / 1000 + 3600:
            await asyncio.sleep(0)
        assert tickets.requests <= 3600 / 30 + 10, "a minute apart, at least half of it"
        index.open[many.fingerprint] = OpenCount(10_000, 9_812, BEGAN, BEGAN + 600_000)
        index.open[few.fingerprint] = OpenCount(10, 10, BEGAN, BEGAN + 600_000)
        await lift(simulator, rule)
        await waiting
        before = tickets.requests
        for number in range(9_999):
            await desk.handle_record(None, replace(many, event_id=f"0-{number}").to_bytes())
        for number in range(9):
            await desk.handle_record(None, replace(few, event_id=f"1-{number}").to_bytes())
        assert tickets.requests - before == 2, "a search and a creation; all others are counted"

        # Killed: what it counted is lost. Its last alert comes again, as one whose offset was not committed.
        restarted = Timed(tickets, index, memory, desk.now)
        index.open[many.fingerprint] = OpenCount(10_005, 9_817, BEGAN, BEGAN + 601_000)
        before = tickets.requests
        await restarted.handle_record(None, few.to_bytes())
        await restarted.live(2 * NOTE_EVERY)
        assert tickets.requests - before <= 2 + 2 + 2 * 2, "two notes, and whether both are open"

        first, second = await incidents(simulator)
        assert first["description"].startswith(
            "UPDATE failed at entity consumer: 10,000 dead letters are open, on 9,812 consumers, from "
        )
        assert second["description"].startswith("NEW failed at entity consumer: 10 dead letters are open, on 10 ")
        (note,) = first["work_notes"]
        assert note.startswith("Now: 10,005 dead letters of this kind are open, on 9,817 consumers, from ")
        assert "Now: 10 dead letters of this kind are open" in second["work_notes"][-1]
        page = f"https://sync.example.com/dead-letters?fingerprint={many.fingerprint}"
        typed = ["profile-sync dlq stats", f"profile-sync dlq list --fingerprint {many.fingerprint}", page]
        assert set(typed) <= set(first["description"].splitlines())

        # Repaired: one kind first.
        index.open[few.fingerprint] = OpenCount(0, 0)
        await restarted.live(3600)
        assert [one["state"] for one in await incidents(simulator)] == ["1", "6"]
        index.open[many.fingerprint] = OpenCount(0, 0)
        await restarted.live(10)
        first, second = await incidents(simulator)
        assert (first["state"], second["state"]) == ("6", "6")
        assert first["work_notes"][1].startswith("Over: the last alert came at ")
        assert len(first["work_notes"]) == 2


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def instance(handler: Handler) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, "<html>Your instance is hibernating</html>", "does not follow its API"),
        (200, '{"result": {}}', "not a list"),
        (200, '{"result": [{"number": "INC1"}]}', "not an incident"),
        (200, '{"result": [{"sys_id": "../../sys_user/1"}]}', "no sys_id"),
        (200, '{"result": [{"sys_id": "a", "correlation_id": "x"}, 7]}', "not an incident"),
        (200, "[" * 200_000, "does not follow its API"),
        (200, '{"result":' * 100_000, "does not follow its API"),
        (200, '{"result": "' + "x" * 1_100_000 + '"}', "more than"),
        (200, "[]", "does not follow its API"),
        (302, "", "HTTP 302"),
        (
            403,
            '{"error": {"message": "ACL", "detail": "Data Policy: \\u001b[31mCaller\\n"}}',
            "ACL: Data Policy:.*Caller.*role",
        ),
        (500, '{"error": {"message": "of ann.lee@example.com"}}', r"HTTP 500 \(of \*\*\*\)"),
        (404, "", "SERVICENOW_URL"),
        (500, "", "HTTP 500"),
    ],
)
async def test_answers_that_are_no_search_results(status: int, body: str, words: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with instance(answer) as url, ServiceNow(settings(url)) as tickets:
        with pytest.raises(TicketError, match=words):
            await tickets.find_open("x")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, b"{}"),
        ({"Retry-After": "9" * 400}, b"{}"),
        ({f"X-Field-{number}": "x" for number in range(200)}, b"{}"),
        ({"X-Long": "x" * 20_000}, b"{}"),
        ({"Content-Encoding": "gzip"}, gzip.compress(b" " * 64 * 1024 * 1024)),
        ({"Content-Encoding": "gzip"}, b"not gzip"),
        ({"Content-Encoding": "br, gzip"}, b"{}"),
    ],
    ids=["year", "seconds", "fields", "field", "bomb", "damaged", "coding"],
)
async def test_an_odd_answer_is_a_failed_request_and_nothing_else(headers: dict[str, str], body: bytes) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503, headers=headers, body=body)

    async with instance(answer) as url, ServiceNow(settings(url)) as tickets:
        tracemalloc.start()
        try:
            create = tickets.create({"correlation_id": "x"})
            for request in (tickets.find_open("x"), tickets.is_open(Incident("a", "")), create):
                with pytest.raises(TicketError):
                    await request
            assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
        finally:
            tracemalloc.stop()


async def test_a_packed_answer_is_read() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b'{"result": []}'))

    async with instance(answer) as url, ServiceNow(settings(url)) as tickets:
        assert await tickets.find_open("x") is None


async def test_a_foreign_incident_is_not_ours() -> None:
    def record(number: str, correlation: str, state: str = "1") -> dict[str, str]:
        return {"sys_id": number * 32, "number": f"INC{number}", "correlation_id": correlation, "state": state}

    found = [record("1", "other:X"), record("2", ""), record("3", "mine:X", state="7"), record("4", "mine:X")]

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"result": found})

    async with instance(answer) as url, ServiceNow(settings(url)) as tickets:
        ours = await tickets.find_open("mine:X")
        assert ours == Incident("4" * 32, "INC4")
        del found[2:]
        assert await tickets.find_open("mine:X") is None


async def test_where_resolving_is_refused_the_note_is_written_alone() -> None:
    sent: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append(await request.json())
        if "state" in sent[-1]:
            detail = "Data Policy Exception: The following fields are mandatory: Resolution code"
            return web.json_response({"error": {"message": "Operation Failed", "detail": detail}}, status=403)
        return web.json_response({"result": {"sys_id": "a" * 32}})

    async with instance(answer) as url, ServiceNow(settings(url)) as tickets:
        with capture_logs() as logged:
            assert not await tickets.resolve(Incident("a" * 32, "INC1"), "it is over")
    assert sent[0]["state"] == "6"
    assert sent[1:] == [{"work_notes": "it is over"}]
    assert "Resolution code" in logged[0]["problem"]


async def test_a_policy_gets_the_fields_that_it_asks_for(simulator: Simulator) -> None:
    fields = {"caller_id": "Sync", "u_service": 7, "close_code": "Solved (Permanently)", "correlation_id": "not this"}
    given = settings(simulator.url, fields=fields)
    async with open_desk(given, GROUP) as desk:
        await desk.handle(ALERT)
        (opened,) = await incidents(simulator)
        await desk.handle(replace(ALERT, kind=AlertKind.RESOLVE))
    (incident,) = await incidents(simulator)
    assert (opened["caller_id"], opened["u_service"], opened.get("close_code")) == ("Sync", "7", None)
    assert incident["close_code"] == "Solved (Permanently)"
    assert incident["correlation_id"] == f"{GROUP}:{ALERT.fingerprint}"


@pytest.mark.parametrize("value", ["no JSON", "[1]", '{"a": []}', '{"a^b": "c"}', "[" * 100_000])
def test_fields_that_cannot_be_sent_are_refused_at_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICENOW_FIELDS", value)
    with pytest.raises(ConfigurationError, match="SERVICENOW_FIELDS"):
        load(ServiceNowSettings)


async def test_the_state_of_an_incident_is_known_where_it_may_be_read(simulator: Simulator) -> None:
    async with ServiceNow(settings(simulator.url)) as tickets:
        incident = await tickets.create({"correlation_id": "x", "short_description": "y"})
        assert await tickets.is_open(incident) is True
        assert await tickets.resolve(incident, "over")
        assert await tickets.is_open(incident) is False
        assert await tickets.is_open(Incident("0" * 32, "INC0")) is None


async def test_a_servicenow_that_does_not_answer_is_given_up_in_time() -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with instance(never) as url, ServiceNow(settings(url), timeout_seconds=0.2) as tickets:
        with pytest.raises(TicketError, match="did not answer within"):
            await tickets.find_open("x")


async def test_a_revoked_bearer_is_replaced_once() -> None:
    issued: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/oauth_token.do":
            form = await request.post()
            assert form["grant_type"] == "client_credentials"
            issued.append(f"bearer{len(issued)}")
            return web.json_response({"access_token": issued[-1], "expires_in": 1799})
        if request.headers["Authorization"] != "Bearer bearer1":
            return web.Response(status=401, text="{}")
        return web.json_response({"result": []})

    oauth = {"username": None, "password": None, "client_id": "me", "client_secret": "secret"}
    async with instance(answer) as url, ServiceNow(settings(url, **oauth)) as tickets:
        assert await tickets.find_open("x") is None
        assert await tickets.find_open("x") is None
    assert len(issued) == 2


async def test_a_fingerprint_is_one_condition_of_the_query() -> None:
    queries: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        queries.append(request.query["sysparm_query"])
        return web.json_response({"result": []})

    hostile = replace(ALERT, entity="x^ORstate=1", operation="a,b c&d")
    async with instance(answer) as url, ServiceNow(settings(url)) as tickets:
        await tickets.find_open(correlation_id(GROUP, hostile.fingerprint))
    assert queries == ["correlation_id=profile-sync:CMT-TIMEOUT:x_ORstate_1:a_b_c_d^stateNOT IN6,7,8^ORDERBYDESCnumber"]
