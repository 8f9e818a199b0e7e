"""The incident table of ServiceNow: create, find the open one by its correlation id, add work notes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.simulator_wire import Wire, running

TABLE = "/api/now/table/incident"
OPEN = "correlation_id=f1^stateNOT IN6,7,8^ORDERBYDESCnumber"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as wire:
        yield wire


async def create(wire: Wire, **fields: Any) -> dict[str, str]:
    async with wire.session.post(wire.simulator.url + TABLE, json=fields) as response:
        assert response.status == 201
        record = (await response.json())["result"]
        assert response.headers["Location"].endswith(f"{TABLE}/{record['sys_id']}")
        return record


async def patch(wire: Wire, sys_id: str, **fields: Any) -> tuple[int, Any]:
    async with wire.session.patch(f"{wire.simulator.url}{TABLE}/{sys_id}", json=fields) as response:
        return response.status, await response.json()


async def test_incidents_are_numbered_and_keep_what_was_sent(wire: Wire) -> None:
    first = await create(wire, short_description="CMT down", impact=1, urgency="2", u_team="sync", correlation_id="f1")
    second = await create(wire)
    assert (first["number"], second["number"]) == ("INC0010001", "INC0010002")
    assert (first["short_description"], first["u_team"], first["state"]) == ("CMT down", "sync", "1")
    assert (first["impact"], first["priority"]) == ("1", "2")
    assert len(first["sys_id"]) == 32


async def test_the_open_incident_of_a_fingerprint_is_found_the_newest_first(wire: Wire) -> None:
    resolved = await create(wire, correlation_id="f1")
    await patch(wire, resolved["sys_id"], state="6")
    await create(wire, correlation_id="f2")
    older, newer = await create(wire, correlation_id="f1"), await create(wire, correlation_id="f1")
    _, document = await wire.get(TABLE, sysparm_query=OPEN)
    assert [record["number"] for record in document["result"]] == [newer["number"], older["number"]]
    _, document = await wire.get(TABLE, sysparm_query=OPEN, sysparm_limit="1", sysparm_fields="number,state")
    assert document["result"] == [{"number": newer["number"], "state": "1"}]


async def test_nothing_found_is_an_empty_list(wire: Wire) -> None:
    assert await wire.get(TABLE, sysparm_query=OPEN) == (200, {"result": []})


async def test_work_notes_are_appended(wire: Wire) -> None:
    record = await create(wire, correlation_id="f1", work_notes="first")
    status, document = await patch(wire, record["sys_id"], work_notes="second", state=6)
    assert (status, document["result"]["state"]) == (200, "6")
    (incident,) = (await wire.get("/_sim/incidents"))[1]["incidents"]
    assert incident["work_notes"] == ["first", "second"]
    assert (await wire.get(f"{TABLE}/{record['sys_id']}"))[1]["result"]["work_notes"] == "second\n\nfirst"


async def test_a_record_that_does_not_exist_is_not_found(wire: Wire) -> None:
    status, document = await patch(wire, "0" * 32, state="6")
    assert (status, document["error"]["message"]) == (404, "No Record found")


async def test_a_query_that_cannot_be_read_is_refused_rather_than_ignored(wire: Wire) -> None:
    for query in ("state", "a=1^ORb=2", "^NQstate=1", "state>3"):
        status, document = await wire.get(TABLE, sysparm_query=query)
        assert (status, "sysparm_query" in document["error"]["detail"]) == (400, True), query


async def test_a_body_that_is_no_json_object_is_refused(wire: Wire) -> None:
    async with wire.session.post(wire.simulator.url + TABLE, data=b"{") as response:
        assert response.status == 400


async def test_access_is_open_unless_credentials_are_configured(wire: Wire) -> None:
    assert (await wire.get(TABLE))[0] == 200


async def test_configured_credentials_are_asked_for_as_basic_or_bearer() -> None:
    async with running(servicenow_credentials=("u", "p")) as wire:
        url = wire.simulator.url

        async def status(credentials: str, scheme: str) -> int:
            headers = {"Authorization": f"{scheme} {credentials}"}
            async with wire.session.get(url + TABLE, headers=headers) as response:
                return response.status

        assert (await wire.get(TABLE))[0] == 401
        assert await status(base64.b64encode(b"u:wrong").decode(), "Basic") == 401
        assert await status(base64.b64encode(b"u:p").decode(), "Basic") == 200
        assert await status("not-base64", "Basic") == 401
        assert await status("made-up", "Bearer") == 401
        form = {"grant_type": "client_credentials", "client_id": "u", "client_secret": "p"}
        async with wire.session.post(url + "/oauth_token.do", data=form) as response:
            bearer = (await response.json())["access_token"]
        assert await status(bearer, "Bearer") == 200
        async with wire.session.post(url + "/oauth_token.do", data=form | {"client_secret": "no"}) as response:
            assert response.status == 401


async def test_incident_faults(wire: Wire) -> None:
    await wire.fault("incident_500", times=1)
    await wire.fault("incident_429", times=1)
    seen = []
    for _ in range(3):
        async with wire.session.post(wire.simulator.url + TABLE, json={}) as response:
            seen.append((response.status, response.headers.get("Retry-After")))
    assert seen == [(500, None), (429, "5"), (201, None)]
    assert len((await wire.get("/_sim/incidents"))[1]["incidents"]) == 1
