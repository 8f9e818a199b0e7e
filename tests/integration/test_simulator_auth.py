"""Tokens: every body that clients send, the addresses in the answer, expiry and refusals."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.simulator_wire import CREDENTIALS, Wire, row, running


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as wire:
        yield wire


@pytest.mark.parametrize("account", [{}, {"account_id": 514001}, {"account_id": "514001"}])
async def test_a_token_is_given_for_json_with_the_account_as_number_or_text(wire: Wire, account: dict) -> None:
    document = await wire.post_json("/v2/token", CREDENTIALS | account)
    assert (document["token_type"], document["expires_in"]) == ("Bearer", 1079)
    assert document["soap_instance_url"] == document["rest_instance_url"] == wire.simulator.url + "/"


async def test_a_token_is_given_for_a_form(wire: Wire) -> None:
    async with wire.session.post(wire.simulator.url + "/v2/token", data=CREDENTIALS) as response:
        assert response.status == 200
        wire.token = (await response.json())["access_token"]
    assert (await wire.upsert(row("CMT_Consumer", ConsumerId="c1"))).one("OverallStatus") == "OK"


async def test_the_soap_address_is_the_one_the_client_came_by(wire: Wire) -> None:
    here = wire.simulator.url.replace("127.0.0.1", "localhost")
    async with wire.session.post(
        wire.simulator.url + "/v2/token", json=CREDENTIALS, headers={"Host": here.removeprefix("http://")}
    ) as response:
        assert (await response.json())["soap_instance_url"] == here + "/"


async def test_a_token_has_three_jwt_parts_a_fourth_opaque_one_and_no_expiry_inside(wire: Wire) -> None:
    header, claims, signature, opaque = wire.token.split(".")
    assert (len(signature), len(opaque)) == (43, 183)
    decoded = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (header, claims)]
    assert decoded[0]["alg"] == "HS256"
    assert decoded[1]["client_id"] == "simulator"
    assert "exp" not in decoded[1]


async def test_wrong_credentials_are_an_invalid_client(wire: Wire) -> None:
    async with wire.session.post(
        wire.simulator.url + "/v2/token", json=CREDENTIALS | {"client_secret": "no"}
    ) as response:
        assert response.status == 401
        document = await response.json()
    assert set(document) == {"error", "error_description", "error_uri"}
    assert document["error"] == "invalid_client"


async def test_credentials_are_those_the_simulator_was_given() -> None:
    async with running(client_id="i", client_secret="s", token_ttl=60) as wire:
        document = await wire.post_json("/v2/token", {"client_id": "i", "client_secret": "s"})
        assert document["expires_in"] == 60
        assert (await wire.post_json("/v2/token", CREDENTIALS))["error"] == "invalid_client"


async def test_another_grant_and_a_body_that_is_no_object_are_refused(wire: Wire) -> None:
    assert (await wire.post_json("/v2/token", CREDENTIALS | {"grant_type": "password"}))["error"] == (
        "unsupported_grant_type"
    )
    assert (await wire.post_json("/v2/token", ["a list"]))["error"] == "invalid_request"


async def test_the_legacy_endpoint_gives_tokens_that_work(wire: Wire) -> None:
    sent = {"clientId": "simulator", "clientSecret": "simulator-secret", "accessType": "offline"}
    document = await wire.post_json("/v1/requestToken?legacy=1", sent)
    assert set(document) == {"accessToken", "expiresIn", "legacyToken", "refreshToken"}
    for name in ("accessToken", "legacyToken"):
        wire.token = document[name]
        assert (await wire.upsert(row("CMT_Consumer", ConsumerId="c1"))).one("OverallStatus") == "OK"
    async with wire.session.post(wire.simulator.url + "/v1/requestToken", json={"clientId": "x"}) as response:
        assert response.status == 401


async def test_a_token_that_aged_out_is_a_security_fault_and_a_new_one_works(wire: Wire) -> None:
    wire.simulator.tokens.expire_all()
    answer = await wire.upsert(row("CMT_Consumer", ConsumerId="c1"))
    assert answer.status == 500
    assert (answer.one("faultcode"), answer.one("faultstring")) == ("q0:Security", "Token Expired")
    assert [call["status"] for call in await wire.calls()] == ["fault"]
    await wire.login()
    assert (await wire.upsert(row("CMT_Consumer", ConsumerId="c1"))).one("OverallStatus") == "OK"


async def test_the_soap_address_can_be_discovered(wire: Wire) -> None:
    assert await wire.get("/platform/v1/endpoints/soap") == (200, {"url": f"{wire.simulator.url}/Service.asmx"})


async def test_the_wsdl_is_served_with_the_simulators_own_address(wire: Wire) -> None:
    async with wire.session.get(wire.simulator.url + "/etframework.wsdl") as response:
        assert (response.status, response.content_type) == (200, "text/xml")
        assert f'location="{wire.simulator.url}/Service.asmx"' in await response.text()
