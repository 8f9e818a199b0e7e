"""Compares SOAP clients: one upsert of one row per call, the same static answer, one core.

The target is the HTTP stub. It answers at once with an answer recorded from the simulator, so only the client is
measured. Every client makes the same call: the parent row of a sample consumer, with a token in the header.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import uvloop
import zeep
from lxml import etree
from rich.table import Table
from zeep.proxy import AsyncServiceProxy
from zeep.transports import AsyncTransport

from app.bundled import schema_path
from app.cmt.client import CmtClient
from app.cmt.wire import PARTNER_API, Wire
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType, Row, as_text
from app.profile.samples.samples import sample_events
from app.settings import CmtSettings
from bench.client_calls import simulator
from bench.report import Target
from bench.soap_answer import HEADERS, SAMPLE, recorded_answer
from bench.stub import stub

IN_FLIGHT = 64
ROWS = 500
_TOKEN = "token-of-the-measurement"

FLOOR, OURS, ON_OURS, ZEEP = (
    "aiohttp, static bytes",
    "this client",
    "zeep's messages and answers, on aiohttp",
    "zeep's AsyncTransport (httpx)",
)
# How long each client is measured in a round; that is enough even for the slow ones.
SECONDS = {FLOOR: 3.0, OURS: 3.0, ON_OURS: 3.0, ZEEP: 4.0}

Call = Callable[[Row], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Speed:
    """The medians of one client."""

    client: str
    calls_per_second: float
    cpu_ms: float


def run(rounds: int = 3) -> list[Speed]:
    """Measure all clients in rounds, so that a noisy moment affects all of them.

    Raises:
        RuntimeError: the stub or the simulator did not start, or a client did not understand the answer.
    """
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    rows = [event.consumer for event in sample_events(2 * ROWS, seed=1) if event.consumer][:ROWS]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SECONDS}
    with TemporaryDirectory(prefix="profile-sync-bench-") as folder, simulator() as token_url:
        answer = Path(folder) / "answer.xml"
        answer.write_bytes(recorded_answer(token_url))
        with stub(Path(folder), answer) as target:
            for _ in range(rounds):
                for name in SECONDS:
                    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                        measured = runner.run(_measured(name, target.url(0), token_url, catalog, rows))
                    found[name].append(measured)
    return [
        Speed(name, statistics.median(speed for speed, _ in runs), statistics.median(cpu for _, cpu in runs))
        for name, runs in found.items()
    ]


async def _measured(name: str, url: str, token_url: str, catalog: Catalog, rows: Sequence[Row]) -> tuple[float, float]:
    """(calls per second, CPU-ms per call)."""
    async with AsyncExitStack() as stack:
        call = await _call_of(name, url, token_url, catalog, stack)
        await call(rows[0])
        turns = cycle(rows)
        done, wall, cpu = 0, time.perf_counter(), time.process_time()
        end = wall + SECONDS[name]

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await call(next(turns))
                done += 1

        async with asyncio.TaskGroup() as callers:
            for _ in range(IN_FLIGHT):
                callers.create_task(caller())
        return done / (time.perf_counter() - wall), (time.process_time() - cpu) / done * 1000


async def _call_of(name: str, url: str, token_url: str, catalog: Catalog, stack: AsyncExitStack) -> Call:
    if name == OURS:
        settings = CmtSettings(
            auth_url=token_url, client_id="simulator", client_secret="simulator-secret", soap_url=url
        )
        client = await stack.enter_async_context(CmtClient(settings, catalog, concurrency=IN_FLIGHT))

        async def ours(row: Row) -> None:
            (result,) = await client.upsert([(EntityType.CONSUMER, row)])
            _expect(result.ok)

        return ours
    if name == ZEEP:
        return await _zeep_alone(url, catalog, stack)
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT), cookie_jar=aiohttp.DummyCookieJar())
    )
    wire = Wire(catalog)
    if name == FLOOR:
        body = wire.upsert([(EntityType.CONSUMER, SAMPLE)]).with_token(_TOKEN)

        async def floor(row: Row) -> None:
            async with session.post(url, data=body, headers=HEADERS) as answer:
                await answer.read()

        return floor
    soap = zeep.Client(str(schema_path("cmt.wsdl")), settings=zeep.Settings(strict=True))
    binding = soap.service._binding
    operation = binding.get("Update")

    async def on_aiohttp(row: Row) -> None:
        body = wire.upsert([(EntityType.CONSUMER, row)]).with_token(_TOKEN)
        async with session.post(url, data=body, headers=HEADERS) as answer:
            envelope = etree.fromstring(await answer.read())
        _expect(operation.process_reply(envelope).OverallStatus == "OK")

    return on_aiohttp


async def _zeep_alone(url: str, catalog: Catalog, stack: AsyncExitStack) -> Call:
    transport = AsyncTransport()
    stack.push_async_callback(transport.aclose)
    # It reads the WSDL with a client of its own, synchronously; here from a file.
    client = zeep.AsyncClient(str(schema_path("cmt.wsdl")), transport=transport, settings=zeep.Settings(strict=True))
    types = client.type_factory(PARTNER_API)
    binding = next(iter(client.wsdl.bindings.values()))
    service = AsyncServiceProxy(client, binding, address=url)
    options = types.UpdateOptions(SaveOptions={"SaveOption": [types.SaveOption("DataExtensionObject", "UpdateAdd")]})
    table = catalog[EntityType.CONSUMER]
    token = etree.Element("{http://exacttarget.com}fueloauth")
    token.text = _TOKEN

    async def alone(row: Row) -> None:
        def properties(columns: Sequence[str]) -> list[object]:
            return [types.APIProperty(Name=column, Value=as_text(row[column]) or "") for column in columns]

        one = types.DataExtensionObject(
            CustomerKey=table.customer_key,
            Properties={"Property": properties([column for column in row if column not in table.primary_key])},
            Keys={"Key": properties(table.primary_key)},
        )
        answer = await service.Update(Options=options, Objects=[one], _soapheaders=[token])
        _expect(answer.OverallStatus == "OK")

    return alone


def _expect(understood: bool) -> None:
    if not understood:
        raise RuntimeError("the call was not answered as it should be")


def table(speeds: Sequence[Speed]) -> Table:
    """The table for the terminal."""
    shown = Table("client", "calls/s", "CPU, ms/call", title=f"One upsert a call, {IN_FLIGHT} in flight, one core")
    shown.columns[1].justify = shown.columns[2].justify = "right"
    for speed in speeds:
        shown.add_row(speed.client, f"{speed.calls_per_second:,.0f}", f"{speed.cpu_ms:.2f}")
    return shown


def targets(speeds: Sequence[Speed]) -> Iterator[Target]:
    """The targets of this program's client."""
    by_name = {speed.client: speed.calls_per_second for speed in speeds}
    yield Target(f"this client / {ZEEP}, calls/s", by_name[OURS] / by_name[ZEEP], 10.0)
    yield Target(f"this client / {FLOOR}, calls/s", by_name[OURS] / by_name[FLOOR], 0.6)
