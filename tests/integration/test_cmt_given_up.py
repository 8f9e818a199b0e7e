"""A call that was given up does not arrive later, over newer state."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from app.bundled import schema_path
from app.cmt.client import CmtClient
from app.cmt.errors import CallFailed
from app.http.answer import TransportFailed
from app.http.connection import HttpConnection
from app.http.transport import HttpTransport
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType
from app.settings import CmtSettings
from app.simulator.server import Simulator
from tests.support.http_servers import hello, raw_server, serving
from tests.support.private_network import PrivateNetwork, in_private_network

DEADLINE_SECONDS = 30


def test_unsent_data_in_the_kernel_is_discarded() -> None:
    """The kernel resends lost data repeatedly, even for a connection that its program has closed."""

    async def scenario(network: PrivateNetwork) -> None:
        catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
        async with Simulator() as simulator:
            port = int(simulator.url.rpartition(":")[2])
            settings = CmtSettings(
                auth_url=simulator.url, client_id="simulator", client_secret="simulator-secret", timeout_seconds=1
            )  # type: ignore[arg-type]
            async with CmtClient(settings, catalog) as client:

                async def write(name: str) -> None:
                    row = {"ConsumerId": "c1", "FirstName": name}
                    assert [result.ok for result in await client.upsert([(EntityType.CONSUMER, row)])] == [True]

                await write("first")
                with network.dropping(port):
                    with pytest.raises(CallFailed) as caught:
                        await write("given up")
                    assert caught.value.error.code == "CMT-TIMEOUT"
                await write("last")
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while network.unsent(port):
                        await asyncio.sleep(0.05)
                # When a request on a new connection is answered, everything that arrived before it was processed.
                await write("last")
            sent = [call.rows for call in simulator.journal.calls("c1")]
        assert [b"given up" in rows for rows in sent] == [False] * 3

    in_private_network(scenario)


async def ending_of(url_of: Callable[[int], str]) -> str:
    """How a connection ends for a server that says nothing: "reset" or "closed"."""
    ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1000):
                pass
            ending.set_result("closed")
        except ConnectionResetError:
            ending.set_result("reset")

    async with raw_server(silent) as port, HttpTransport(timeout_seconds=0.5, limit=1) as transport:
        with pytest.raises(TransportFailed):
            await transport.post(url_of(port), b"", {})
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await ending


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("given_up", ["request", "handshake", "proxy", "proxy handshake"])
def test_a_connection_that_is_given_up_is_reset(
    given_up: str, loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset discards unsent data; an orderly close would send it first."""
    monkeypatch.setenv("NO_PROXY", "")

    def url(port: int) -> str:
        if given_up == "request":
            return f"http://127.0.0.1:{port}/"
        if given_up == "handshake":
            return f"https://127.0.0.1:{port}/"
        scheme = "http" if given_up == "proxy" else "https"
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{port}")
        return "https://marketing-cloud.example/"

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(ending_of(url)) == "reset"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux: TCP_USER_TIMEOUT")
async def test_the_kernel_tries_no_longer_than_a_call_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    class Watched(HttpConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            opened = transport.get_extra_info("socket")
            limits.append(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
            super().connection_made(transport)

    monkeypatch.setattr("app.http.dialling.HttpConnection", Watched)
    async with serving(hello) as url, HttpTransport(timeout_seconds=7.5, limit=1) as transport:
        await transport.post(url, b"", {})
    assert limits == [7500]
