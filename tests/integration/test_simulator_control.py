"""The test side of the simulator: rows, journal, statistics, reset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.simulator_wire import Wire, row, running, where


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with running() as wire:
        yield wire


async def test_data_extensions_are_listed_with_keys_and_columns(wire: Wire) -> None:
    _, document = await wire.get("/_sim/data-extensions")
    assert [extension["customerKey"] for extension in document["dataExtensions"]] == [
        "CMT_Consumer",
        "CMT_Contact",
        "CMT_Child",
        "CMT_Pet",
        "CMT_DigitalAsset",
        "CMT_Interest",
        "CMT_OptIn",
    ]
    assert document["dataExtensions"][1]["primaryKey"] == ["ConsumerId", "ContactId"]


async def test_rows_can_be_filtered_by_any_column(wire: Wire) -> None:
    await wire.upsert(
        row("CMT_Pet", ConsumerId="c1", PetId="p1", Species="cat"),
        row("CMT_Pet", ConsumerId="c1", PetId="p2", Species="dog"),
        row("CMT_Pet", ConsumerId="c2", PetId="p1", Species="cat"),
    )
    assert len(await wire.rows("CMT_Pet")) == 3
    assert [pet["ConsumerId"] for pet in await wire.rows("CMT_Pet", Species="cat")] == ["c1", "c2"]
    assert await wire.rows("CMT_Pet", ConsumerId="c1", Species="cat") == [
        {"ConsumerId": "c1", "PetId": "p1", "Species": "cat"}
    ]
    assert await wire.rows("CMT_Pet", ConsumerId="c2", PetId="p2") == []


async def test_unknown_data_extensions_and_columns_are_named(wire: Wire) -> None:
    status, document = await wire.get("/_sim/rows/CMT_Cat")
    assert (status, "CMT_Cat" in document["error"]) == (404, True)
    status, document = await wire.get("/_sim/rows/CMT_Pet", Colour="black")
    assert (status, "Colour" in document["error"]) == (400, True)


async def test_calls_are_kept_in_order_with_all_that_is_known_of_them(wire: Wire) -> None:
    await wire.upsert(row("CMT_Pet", keys={"ConsumerId": "c1", "PetId": "p1"}, Name="Kim"))
    await wire.retrieve("DataExtensionObject[CMT_Pet]", "PetId", more=where("ConsumerId", "equals", "c1"))
    await wire.delete(row("CMT_Pet", keys={"ConsumerId": "c1", "PetId": "p1"}))
    await wire.create(row("CMT_Consumer", ConsumerId="c2"))
    calls = await wire.calls()
    assert [(call["seq"], call["operation"], call["dataExtension"], call["consumerId"]) for call in calls] == [
        (1, "Update", "CMT_Pet", "c1"),
        (2, "Retrieve", "CMT_Pet", "c1"),
        (3, "Delete", "CMT_Pet", "c1"),
        (4, "Create", "CMT_Consumer", "c2"),
    ]
    assert {call["status"] for call in calls} == {"ok"}
    assert set(calls[0]) == {"seq", "at", "operation", "dataExtension", "consumerId", "status", "ms"}
    assert calls[0]["at"].endswith("Z")
    assert datetime.now(UTC) - datetime.fromisoformat(calls[0]["at"]) < timedelta(minutes=1)
    assert calls[0]["ms"] > 0


async def test_calls_can_carry_their_rows_keys_and_properties_merged(wire: Wire) -> None:
    await wire.upsert(
        row("CMT_Pet", keys={"ConsumerId": "c1", "PetId": "p1"}, Name="Kim", Breed=None),
        row("CMT_Pet", ConsumerId="c1", PetId="p2"),
    )
    (call,) = await wire.calls(rows="true")
    assert call["rows"] == [
        {"ConsumerId": "c1", "PetId": "p1", "Name": "Kim", "Breed": None},
        {"ConsumerId": "c1", "PetId": "p2"},
    ]


async def test_calls_are_selected_by_consumer_since_and_limit(wire: Wire) -> None:
    for number in range(6):
        await wire.upsert(row("CMT_Consumer", ConsumerId=f"c{number % 2}"))
    assert [call["seq"] for call in await wire.calls(consumer="c1")] == [2, 4, 6]
    assert [call["seq"] for call in await wire.calls(since="2", limit="2")] == [3, 4]
    assert [call["seq"] for call in await wire.calls(consumer="c1", since="2", limit="1")] == [4]
    assert await wire.calls(since="6") == []
    assert await wire.calls(consumer="nobody") == []
    assert (await wire.get("/_sim/calls", since="x"))[0] == 400


async def test_long_lists_are_complete(wire: Wire) -> None:
    """Longer than what is written in one part."""
    journal = wire.simulator.journal
    for number in range(5001):
        journal.record(0.0, "Update", "CMT_Consumer", f"c{number}", "ok")
    assert [call["seq"] for call in await wire.calls()] == list(range(1, 5002))


async def test_calls_of_one_consumer_stand_in_the_order_in_which_they_took_effect(wire: Wire) -> None:
    """The first write takes effect but is never answered; the second one comes in the meantime."""
    await wire.fault("timeout", after=True, times=1)
    held = asyncio.create_task(wire.upsert(row("CMT_Consumer", ConsumerId="c1", FirstName="first")))
    async with asyncio.timeout(30):
        while not await wire.rows("CMT_Consumer"):
            await asyncio.sleep(0.005)
    await wire.upsert(row("CMT_Consumer", ConsumerId="c1", FirstName="second"))
    assert not held.done()
    held.cancel()
    calls = await wire.calls(rows="true")
    assert [(call["rows"][0]["FirstName"], call["status"]) for call in calls] == [
        ("first", "dropped"),
        ("second", "ok"),
    ]


async def test_stats_count_calls_rows_tokens_and_faults(wire: Wire) -> None:
    await wire.fault("rate_limited", times=1)
    for _ in range(2):
        await wire.upsert(row("CMT_Pet", ConsumerId="c1", PetId="p1"))
    await wire.post_json("/v2/token", {"client_id": "wrong"})
    _, stats = await wire.get("/_sim/stats")
    assert stats["calls"] == 2
    assert stats["callsByStatus"] == {"fault": 1, "ok": 1}
    assert stats["callsByOperation"] == {"Update": 2}
    assert stats["rows"]["CMT_Pet"] == 1
    assert (stats["tokensIssued"], stats["tokensRefused"]) == (1, 1)
    assert stats["faultsFired"] == {"rate_limited": 1}


async def test_reset_empties_everything_but_the_tokens(wire: Wire) -> None:
    await wire.upsert(row("CMT_Pet", ConsumerId="c1", PetId="p1"))
    await wire.post_json("/api/now/table/incident", {})
    await wire.fault("rate_limited")
    await wire.post_json("/_sim/reset", {})
    assert (await wire.rows("CMT_Pet"), await wire.calls()) == ([], [])
    assert (await wire.get("/_sim/incidents"))[1] == {"incidents": []}
    assert (await wire.get("/_sim/faults"))[1] == {"faults": [], "spent": []}
    answer = await wire.upsert(row("CMT_Pet", ConsumerId="c1", PetId="p1"))
    assert answer.one("OverallStatus") == "OK"
    assert [call["seq"] for call in await wire.calls()] == [1]
