"""Every kind of fault: the answer to the client, the effect on rows, and the entry in the journal."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from lxml import etree

from app.simulator.faults import FaultKind
from app.simulator.row_errors import DEADLOCK_TEXT, DUPLICATE_KEY_TEXT
from tests.support.simulator_wire import CREDENTIALS, Answer, Wire, row, running, where

CONSUMER = row("CMT_Consumer", ConsumerId="c1", FirstName="Ann")
KEYS = {"CMT_Consumer": {"ConsumerId": "c1"}, "CMT_Pet": {"ConsumerId": "c1", "PetId": "p1"}}
DEADLINE_SECONDS = 30
INCIDENTS = "/api/now/table/incident"
FAULT_DETAIL_CODE = ".//{urn:fault.partner.exacttarget.com}Code"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as wire:
        yield wire


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Waits until the condition holds, with a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


async def statuses(wire: Wire) -> list[str]:
    return [call["status"] for call in await wire.calls()]


@pytest.mark.parametrize(
    ("kind", "faultcode", "text", "code"),
    [
        ("rate_limited", "soap:Server", "Rate Limited", "17"),
        ("server_fault", "soap:Server", "Exception occurred during [Update] ErrorID: 1000000001", "2"),
        ("maintenance", "soap:Server", "The system is in maintenance. Try again later.", "9"),
        ("security_fault", "q0:Security", "Token Expired", None),
        ("deadlock_fault", "soap:Server", DEADLOCK_TEXT, "2"),
        ("duplicate_key_fault", "soap:Server", DUPLICATE_KEY_TEXT, "2"),
    ],
)
async def test_soap_faults_are_http_500(wire: Wire, kind: str, faultcode: str, text: str, code: str | None) -> None:
    await wire.fault(kind, times=1)
    answer = await wire.upsert(CONSUMER)
    assert answer.status == 500
    assert (answer.one("faultcode"), answer.one("faultstring")) == (faultcode, text)
    assert answer.root.findtext(FAULT_DETAIL_CODE) == code
    assert answer.one("faultactor") == f"{wire.simulator.url}/Service.asmx"
    assert (await wire.rows("CMT_Consumer"), await statuses(wire)) == ([], ["fault"])
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"


async def test_a_row_error_quotes_the_value_and_names_the_column(wire: Wire) -> None:
    await wire.fault("row_error", times=1)
    answer = await wire.upsert(CONSUMER)
    (result,) = answer.elements("Results")
    assert (answer.status, answer.one("OverallStatus"), result.findtext("{*}ErrorCode")) == (200, "Error", "310007")
    assert "'Ann'" in answer.one("StatusMessage")
    (error,) = answer.elements("ValueError")
    assert error.findtext("{*}Name") == "FirstName"
    assert (await wire.rows("CMT_Consumer"), await statuses(wire)) == ([], ["error"])


async def test_a_row_error_of_a_delete_is_about_its_keys(wire: Wire) -> None:
    await wire.upsert(CONSUMER)
    await wire.fault("row_error", operation="Delete")
    answer = await wire.delete(row("CMT_Consumer", keys={"ConsumerId": "c1"}))
    assert answer.elements("ValueErrors") == []
    assert answer.elements("KeyError")[0].findtext("{*}Name") == "ConsumerId"
    assert len(await wire.rows("CMT_Consumer")) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_row_that_says_ok_may_have_been_written_or_not(wire: Wire, after: bool) -> None:
    await wire.fault("ok_but_unknown", after=after, times=1)
    answer = await wire.upsert(CONSUMER)
    assert (answer.one("StatusCode"), answer.one("ErrorCode"), answer.one("OverallStatus")) == ("OK", "71000", "OK")
    assert (len(await wire.rows("CMT_Consumer")), await statuses(wire)) == (after, ["error"])


async def test_a_deadlocked_row_has_the_code_of_permanent_errors(wire: Wire) -> None:
    await wire.fault("deadlock_row", times=1)
    answer = await wire.upsert(CONSUMER)
    assert (answer.one("ErrorCode"), answer.one("OverallStatus")) == ("2", "Error")
    assert answer.one("StatusMessage") == DEADLOCK_TEXT
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"


async def test_a_duplicate_key_fault_leaves_reads_alone(wire: Wire) -> None:
    await wire.fault("duplicate_key_fault")
    assert (await wire.retrieve("DataExtensionObject[CMT_Pet]", "PetId")).one("OverallStatus") == "OK"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_any_row_error_can_be_answered(wire: Wire, after: bool) -> None:
    pet = row("CMT_Pet", ConsumerId="c1", PetId="p1")
    await wire.fault("answer", rowCode=70001, rowMessage="No <null>.", dataExtension="CMT_Pet", after=after)
    answer = await wire.upsert(CONSUMER, pet)
    assert (answer.texts("StatusCode"), answer.texts("ErrorCode")) == (["OK", "Error"], ["70001"])
    assert answer.texts("StatusMessage")[1] == "No <null>."
    assert answer.one("OverallStatus") == "Has Errors"
    assert (len(await wire.rows("CMT_Pet")), await statuses(wire)) == (after, ["ok", "error"])


async def test_a_row_error_can_come_without_a_code_and_with_any_overall_status(wire: Wire) -> None:
    await wire.fault("answer", rowMessage="Try later.", overallStatus="Has Error")
    answer = await wire.upsert(CONSUMER)
    assert (answer.texts("ErrorCode"), answer.one("OverallStatus")) == ([], "Has Error")


async def test_any_overall_status_can_be_answered(wire: Wire) -> None:
    await wire.upsert(CONSUMER)
    await wire.fault("answer", overallStatus="Error: Timeout expired.", operation="Retrieve", times=1)
    answer = await wire.retrieve("DataExtensionObject[CMT_Consumer]", "ConsumerId")
    assert (answer.status, answer.one("OverallStatus"), answer.rows()) == (200, "Error: Timeout expired.", [])
    await wire.fault("answer", overallStatus="OK", operation="Delete", after=True)
    answer = await wire.delete(row("CMT_Consumer", keys=KEYS["CMT_Consumer"]))
    assert (answer.one("OverallStatus"), answer.elements("Results")) == ("OK", [])
    assert (await wire.rows("CMT_Consumer"), await statuses(wire)) == ([], ["ok", "error", "error"])


@pytest.mark.parametrize(
    ("fields", "faultcode", "code", "status"),
    [
        ({"faultCode": 13}, "soap:Server", "13", 500),
        ({"faultCode": "Client", "faultMessage": "no <right>"}, "soap:Client", None, 500),
        ({"faultCode": "Security", "status": 403}, "q0:Security", None, 403),
        ({"faultMessage": "no <right>"}, "soap:Server", None, 500),
    ],
)
async def test_any_soap_fault_can_be_answered(
    wire: Wire, fields: dict[str, Any], faultcode: str, code: str | None, status: int
) -> None:
    await wire.fault("answer", **fields, headers={"X-Seen": "yes"})
    answer = await wire.upsert(CONSUMER)
    assert (answer.status, answer.headers["X-Seen"], answer.one("faultcode")) == (status, "yes", faultcode)
    assert (answer.one("faultstring"), answer.root.findtext(FAULT_DETAIL_CODE)) == (
        fields.get("faultMessage", ""),
        code,
    )
    assert (await wire.rows("CMT_Consumer"), await statuses(wire)) == ([], ["fault"])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_any_http_answer_can_be_given(wire: Wire, after: bool) -> None:
    await wire.fault("answer", status=429, headers={"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, after=after)
    answer = await wire.upsert(CONSUMER)
    assert (answer.status, answer.headers["Retry-After"][:3], answer.text) == (429, "Mon", "")
    assert (len(await wire.rows("CMT_Consumer")), await statuses(wire)) == (after, ["fault"])


async def test_a_raw_body_may_be_binary_and_of_any_type(wire: Wire) -> None:
    packed = base64.b64encode(gzip.compress(b"hello")).decode()
    await wire.fault("answer", bodyBase64=packed, headers={"content-type": "a/b", "Content-Encoding": "gzip"}, times=1)
    answer = await wire.upsert(CONSUMER)
    assert (answer.status, answer.headers.getall("Content-Type"), answer.text) == (200, ["a/b"], "hello")
    await wire.fault("answer", body="<a>", times=1)
    answer = await wire.upsert(CONSUMER)
    assert (answer.headers["Content-Type"], answer.text) == ("text/xml; charset=utf-8", "<a>")


@pytest.mark.parametrize(
    ("operation", "path"), [("Token", "/v2/token"), ("Token", "/v1/requestToken"), ("Incident", INCIDENTS)]
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_tokens_and_incidents_can_be_answered_with_anything(
    wire: Wire, operation: str, path: str, after: bool
) -> None:
    await wire.fault("answer")  # of SOAP calls only
    await wire.fault("answer", operation=operation, status=201, body="[[[[", headers={"A": "b"}, after=after)
    sent = {**CREDENTIALS, "clientId": "simulator", "clientSecret": "simulator-secret"}
    async with wire.session.post(wire.simulator.url + path, json=sent) as response:
        assert (response.status, response.headers["A"], await response.text()) == (201, "b", "[[[[")
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    incidents = (await wire.get("/_sim/incidents"))[1]["incidents"]
    assert len(incidents) == (after and operation == "Incident")
    assert (await wire.get("/_sim/stats"))[1]["tokensIssued"] == 1 + (after and operation == "Token")


async def test_a_transient_row_error_is_recognisable_by_its_ending_only(wire: Wire) -> None:
    await wire.fault("row_error_transient", times=1)
    answer = await wire.upsert(CONSUMER)
    assert answer.one("OverallStatus") == "Error"
    assert answer.one("StatusMessage").endswith("Rerun the transaction.")
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"


async def test_a_row_error_hits_only_the_rows_it_is_meant_for(wire: Wire) -> None:
    await wire.fault("row_error", dataExtension="CMT_Pet", consumerId="c1")
    answer = await wire.upsert(
        CONSUMER, row("CMT_Pet", ConsumerId="c1", PetId="p1"), row("CMT_Pet", ConsumerId="c2", PetId="p2")
    )
    assert answer.texts("StatusCode") == ["OK", "Error", "OK"]
    assert [pet["PetId"] for pet in await wire.rows("CMT_Pet")] == ["p2"]


async def test_a_row_error_after_the_write_leaves_the_row_written(wire: Wire) -> None:
    await wire.fault("row_error", after=True)
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "Error"
    assert len(await wire.rows("CMT_Consumer")) == 1


async def test_a_reset_drops_the_connection(wire: Wire) -> None:
    await wire.fault("reset", times=1)
    with pytest.raises(aiohttp.ClientOSError) as raised:
        await wire.upsert(CONSUMER)
    assert raised.value.errno == errno.ECONNRESET
    assert (await wire.rows("CMT_Consumer"), await statuses(wire)) == ([], ["dropped"])


async def test_a_timeout_never_answers_and_lets_go_when_the_client_gives_up(wire: Wire) -> None:
    await wire.fault("timeout", times=1, after=True)
    held = asyncio.create_task(wire.upsert(CONSUMER))
    await eventually(wire.calls)
    assert (len(await wire.rows("CMT_Consumer")), await statuses(wire)) == (1, ["dropped"])
    assert not held.done()
    (before,) = await wire.calls()
    held.cancel()

    async def let_go() -> bool:
        return (await wire.calls())[0]["ms"] > before["ms"]

    await eventually(let_go)


async def test_a_timeout_holds_the_connection_no_longer_than_its_delay(wire: Wire) -> None:
    await wire.fault("timeout", delayMs=100)
    started = time.monotonic()
    with pytest.raises(aiohttp.ClientError):
        await wire.upsert(CONSUMER)
    assert 0.1 <= time.monotonic() - started < DEADLINE_SECONDS


async def test_stopping_does_not_wait_for_held_connections() -> None:
    async with running() as wire:
        await wire.fault("timeout")
        held = asyncio.create_task(wire.upsert(CONSUMER))
        await eventually(wire.calls)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await wire.simulator.stop()
        with pytest.raises(aiohttp.ClientError):
            await held


async def test_http_503_and_html_500_are_pages_not_soap(wire: Wire) -> None:
    for kind, status in (("http_503", 503), ("html_500", 500)):
        await wire.fault(kind, times=1)
        answer = await wire.upsert(CONSUMER)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert answer.text.startswith("<html>")
    assert await statuses(wire) == ["fault", "fault"]


async def test_malformed_xml_is_http_200_that_cannot_be_parsed(wire: Wire) -> None:
    await wire.fault("malformed_xml", times=1)
    answer = await wire.upsert(CONSUMER)
    assert answer.status == 200
    with pytest.raises(etree.XMLSyntaxError):
        _ = answer.root


async def test_slow_delays_and_then_answers(wire: Wire) -> None:
    await wire.fault("slow", delayMs=120, times=1)
    started = time.monotonic()
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"
    assert time.monotonic() - started >= 0.12
    (call,) = await wire.calls()
    assert (call["status"], call["ms"] >= 120) == ("ok", True)


@pytest.mark.parametrize(
    "kind",
    [
        "rate_limited",
        "server_fault",
        "maintenance",
        "security_fault",
        "http_503",
        "html_500",
        "malformed_xml",
        "deadlock_fault",
    ],
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_before_means_that_the_write_took_no_effect_and_after_that_it_did(
    wire: Wire, kind: str, after: bool
) -> None:
    batch = (CONSUMER, row("CMT_Pet", ConsumerId="c1", PetId="p1"))
    await wire.fault(kind, after=after, dataExtension="CMT_Pet", times=1)
    answer = await wire.upsert(*batch)
    # A fault for one data extension of a call affects the whole call.
    held = [len(await wire.rows(table)) for table in ("CMT_Consumer", "CMT_Pet")]
    assert (held, await statuses(wire)) == ([int(after)] * 2, ["fault"] * 2)
    assert "OverallStatus" not in answer.text
    await wire.delete(*(row(table, keys=keys) for table, keys in KEYS.items()))
    assert (await wire.upsert(*batch)).one("OverallStatus") == "OK"


@pytest.mark.parametrize("kind", ["row_error", "row_error_transient"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_row_error_of_a_delete_leaves_the_row_or_not(wire: Wire, kind: str, after: bool) -> None:
    await wire.upsert(CONSUMER)
    await wire.fault(kind, operation="Delete", after=after)
    delete = row("CMT_Consumer", keys=KEYS["CMT_Consumer"])
    code = "310006" if kind == "row_error_transient" else "310007"
    assert (await wire.delete(delete)).texts("ErrorCode")[0] == code
    assert len(await wire.rows("CMT_Consumer")) == (not after)
    # The answer that a row is gone comes first.
    assert (await wire.delete(delete)).texts("ErrorCode")[0] == ("310002" if after else code)


@pytest.mark.parametrize("kind", ["slow", "expire_tokens"])
async def test_what_comes_after_the_write_lets_it_be_answered(wire: Wire, kind: str) -> None:
    await wire.fault(kind, operation="Update", after=True, times=1, **({"delayMs": 50} if kind == "slow" else {}))
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"
    assert (len(await wire.rows("CMT_Consumer")), await statuses(wire)) == (1, ["ok"])
    answer = await wire.upsert(CONSUMER)
    assert (answer.status, "Token Expired" in answer.text) == ((200, False) if kind == "slow" else (500, True))


async def test_a_reset_after_the_write_leaves_the_row_written(wire: Wire) -> None:
    await wire.fault("reset", after=True)
    with pytest.raises(aiohttp.ClientOSError):
        await wire.upsert(CONSUMER)
    assert (len(await wire.rows("CMT_Consumer")), await statuses(wire)) == (1, ["dropped"])


async def test_a_slow_write_that_the_client_gave_up_on_still_takes_effect(wire: Wire) -> None:
    await wire.fault("slow", delayMs=1000, times=1)
    given_up = asyncio.create_task(wire.upsert(CONSUMER))

    async def met_the_fault() -> bool:
        return bool((await wire.get("/_sim/faults"))[1]["spent"])

    await eventually(met_the_fault)
    given_up.cancel()
    await eventually(lambda: wire.rows("CMT_Consumer"))


@pytest.mark.parametrize("fields", [{}, {"times": 1}])
async def test_expire_tokens_takes_effect_at_once_and_is_spent(wire: Wire, fields: dict[str, Any]) -> None:
    await wire.fault("expire_tokens", **fields)
    assert (await wire.upsert(CONSUMER)).one("faultstring") == "Token Expired"
    assert (await wire.get("/_sim/faults"))[1]["faults"] == []
    await wire.login()
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"


async def test_expire_tokens_can_be_tied_to_a_call(wire: Wire) -> None:
    await wire.fault("expire_tokens", operation="Delete", times=1)
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"
    delete = row("CMT_Consumer", keys={"ConsumerId": "c1"})
    assert (await wire.delete(delete)).one("faultstring") == "Token Expired"
    assert len(await wire.rows("CMT_Consumer")) == 1
    await wire.login()
    assert (await wire.delete(delete)).one("OverallStatus") == "OK"


async def test_a_call_with_an_expired_token_uses_no_fault_up(wire: Wire) -> None:
    await wire.fault("rate_limited", times=1)
    await wire.fault("expire_tokens")
    assert (await wire.upsert(CONSUMER)).one("faultstring") == "Token Expired"
    await wire.login()
    assert (await wire.upsert(CONSUMER)).one("faultstring") == "Rate Limited"


async def test_token_faults(wire: Wire) -> None:
    await wire.fault("token_500", times=1)
    await wire.fault("token_429", times=1)
    seen = []
    for _ in range(3):
        async with wire.session.post(wire.simulator.url + "/v2/token", json=CREDENTIALS) as response:
            seen.append((response.status, response.headers.get("Retry-After")))
    assert seen == [(500, None), (429, "5"), (200, None)]


@pytest.mark.parametrize("fault", [{"kind": "token_500"}, {"kind": "http_503", "operation": "Token"}])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_token_was_issued_or_not_when_its_request_fails(wire: Wire, fault: dict[str, str], after: bool) -> None:
    issued = (await wire.get("/_sim/stats"))[1]["tokensIssued"]
    await wire.fault(**fault, after=after)
    async with wire.session.post(wire.simulator.url + "/v2/token", json=CREDENTIALS) as response:
        assert response.status in (500, 503)
    assert (await wire.get("/_sim/stats"))[1]["tokensIssued"] == issued + after


@pytest.mark.parametrize(
    "fault", [{"kind": "incident_500"}, {"kind": "incident_429"}, {"kind": "html_500", "operation": "Incident"}]
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_incident_was_written_or_not_when_its_request_fails(
    wire: Wire, fault: dict[str, str], after: bool
) -> None:
    await wire.fault(**fault, after=after, times=1)
    address = wire.simulator.url + "/api/now/table/incident"
    async with wire.session.post(address, json={"short_description": "one"}) as response:
        assert response.status in (429, 500)
    assert len((await wire.get("/_sim/incidents"))[1]["incidents"]) == after


async def test_transport_faults_leave_the_token_endpoint_alone_unless_they_name_it(wire: Wire) -> None:
    await wire.fault("http_503")
    assert "access_token" in await wire.post_json("/v2/token", CREDENTIALS)
    await wire.fault("http_503", operation="Token", times=1)
    async with wire.session.post(wire.simulator.url + "/v2/token", json=CREDENTIALS) as response:
        assert response.status == 503


async def test_a_fault_matches_by_operation_data_extension_and_consumer(wire: Wire) -> None:
    await wire.fault("rate_limited", operation="Update", dataExtension="cmt_pet", consumerId="c1")
    pet = row("CMT_Pet", ConsumerId="c1", PetId="p1")

    async def limited(answer: Answer) -> bool:
        return answer.status == 500

    assert await limited(await wire.upsert(pet))
    assert not await limited(await wire.create(pet))
    assert not await limited(await wire.upsert(row("CMT_Pet", ConsumerId="c2", PetId="p1")))
    assert not await limited(await wire.upsert(CONSUMER))
    assert await limited(await wire.upsert(CONSUMER, pet))


async def test_a_retrieve_is_matched_by_the_consumer_in_its_filter(wire: Wire) -> None:
    await wire.fault("server_fault", operation="Retrieve", consumerId="c1")
    asked = [where("ConsumerId", "equals", consumer) for consumer in ("c1", "c2")]
    answers = [await wire.retrieve("DataExtensionObject[CMT_Pet]", "PetId", more=more) for more in asked]
    assert [answer.status for answer in answers] == [500, 200]


async def test_probability_is_a_share_and_the_same_on_every_run() -> None:
    async def run() -> list[str]:
        async with running(seed=7) as wire:
            await wire.fault("rate_limited", probability=0.3)
            for _ in range(200):
                await wire.upsert(CONSUMER)
            return await statuses(wire)

    first, second = await run(), await run()
    assert first == second
    assert 30 <= first.count("fault") <= 90


async def test_faults_are_listed_and_removed(wire: Wire) -> None:
    one = await wire.fault("rate_limited", times=2, operation="Update")
    two = await wire.fault("slow", delayMs=1)
    await wire.upsert(CONSUMER)
    _, document = await wire.get("/_sim/faults")
    assert [(fault["id"], fault["kind"], fault["hits"]) for fault in document["faults"]] == [
        (one, "rate_limited", 1),
        (two, "slow", 1),
    ]
    async with wire.session.delete(f"{wire.simulator.url}/_sim/faults/{one}") as response:
        assert response.status == 200
    assert (await wire.upsert(CONSUMER)).one("OverallStatus") == "OK"
    async with wire.session.delete(f"{wire.simulator.url}/_sim/faults/{one}") as response:
        assert response.status == 404
    async with wire.session.delete(f"{wire.simulator.url}/_sim/faults") as response:
        assert await response.json() == {"removed": 1}
    assert (await wire.get("/_sim/faults"))[1]["faults"] == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "flood"}, "rate_limited"),
        ({}, "kind"),
        ({"kind": "slow", "delay": 5}, "delay"),
        ({"kind": "slow", "times": 0}, "times"),
        ({"kind": "slow", "probability": 1.5}, "probability"),
        ({"kind": "row_error", "operation": "Retrieve"}, "row_error cannot happen to operation Retrieve"),
        ({"kind": "slow", "dataExtension": "CMT_Cat"}, "CMT_Cat"),
        ({"kind": "duplicate_key_fault", "operation": "Retrieve"}, "duplicate_key_fault cannot happen to operation"),
        ({"kind": "slow", "rowCode": 5}, "rowCode: only the kind answer has these"),
        ({"kind": "answer", "body": "x", "overallStatus": "OK"}, "body, overallStatus cannot stand together"),
        ({"kind": "answer", "rowCode": 5, "status": 500}, "a row error is part of an otherwise good answer"),
        ({"kind": "answer", "rowCode": 5, "operation": "Retrieve"}, "answer cannot happen to operation Retrieve"),
        ({"kind": "answer", "faultCode": 5, "operation": "Token"}, "answer cannot happen to operation Token"),
        ({"kind": "answer", "rowStatus": "Pending"}, "rowStatus"),
        ({"kind": "answer", "headers": {"A": "b\r\nC: d"}}, "'A' cannot be sent as a header"),
        ({"kind": "answer", "bodyBase64": "é"}, "not base64"),
        ({"kind": "token_500", "operation": "Update"}, "token_500 cannot happen to operation Update"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_with_a_reason(
    wire: Wire, fields: dict[str, Any], reason: str
) -> None:
    async with wire.session.post(wire.simulator.url + "/_sim/faults", json=fields) as response:
        assert response.status == 400
        assert reason in (await response.json())["error"]


async def test_every_kind_can_be_set(wire: Wire) -> None:
    for kind in FaultKind:
        assert await wire.fault(kind)
