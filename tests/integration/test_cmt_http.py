"""Connections to real servers: kept, limited, given up, and through real proxies."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from app.http import transport as transport_module
from app.http.answer import FailureKind, TransportFailed
from app.http.transport import HttpTransport
from tests.support.http_servers import hello, raw_server, serving


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def proxy(asked: list[bytes], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a proxy that connects to any requested address."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(pump(reader, inner_writer))
            pumps.create_task(pump(inner_reader, writer))

    async with raw_server(talk, tls) as port:
        yield port


async def through_the_proxy(
    server_tls: ssl.SSLContext, ca_file: Path, monkeypatch: pytest.MonkeyPatch, proxy_tls: ssl.SSLContext | None
) -> None:
    asked: list[bytes] = []
    async with proxy(asked, proxy_tls) as port, serving(hello, server_tls) as url:
        scheme = "https" if proxy_tls else "http"
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://ann:p%40ss@127.0.0.1:{port}")
        async with HttpTransport(timeout_seconds=5, limit=2, ca_file=ca_file) as transport:
            for _ in range(3):
                assert (await transport.post(url, b"there", {})).body == b"hello there"
        place = url.removeprefix("https://")
        secret = base64.b64encode(b"ann:p@ss").decode()
        wanted = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: Basic {secret}\r\n\r\n"
        assert asked == [wanted.encode()], "asked once; the way is kept"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with HttpTransport(timeout_seconds=5, limit=2, ca_file=ca_file) as transport:
            assert (await transport.post(url, b"you", {})).body == b"hello you"
        assert len(asked) == 1


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("secure_proxy", [False, True])
def test_https_through_a_proxy(
    event_loop: str,
    secure_proxy: bool,
    server_tls: ssl.SSLContext,
    ca_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory = uvloop.new_event_loop if event_loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        proxy_tls = server_tls if secure_proxy else None
        runner.run(through_the_proxy(server_tls, ca_file, monkeypatch, proxy_tls))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "refuses the way to x.example:443 (HTTP 403)"),
        (b"220 mail.example ESMTP\r\n", "opens no way to x.example:443: its answer is not HTTP"),
        (b"", "opens no way to x.example:443: it closed the connection"),
    ],
)
async def test_a_proxy_that_does_not_do_its_part(answer: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:secret@127.0.0.1:{port}")
        failure = await failed("https://x.example/")
    assert said in str(failure) and "proxy" in str(failure) and "secret" not in str(failure)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:1", "no connection to the proxy 127.0.0.1:1"),
        ("http://proxy.invalid:1", "no connection to the proxy proxy.invalid:1: the name is not known"),
        ("http://pro..xy:1", "no connection to x.example:443: its name, or that of its proxy, cannot be one"),
        ("socks5://127.0.0.1:1", "HTTPS_PROXY is not the address of an http or https proxy"),
        ("http://proxy:port", "HTTPS_PROXY is not the address of an http or https proxy"),
        ("http://[::1", "HTTPS_PROXY is not the address of an http or https proxy"),
    ],
)
async def test_a_proxy_that_is_not_there(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert said in str(await failed("https://x.example/"))


async def test_a_name_that_is_not_known() -> None:
    assert "no connection to nowhere.invalid:443: the name is not known" in str(
        await failed("https://nowhere.invalid/")
    )


@pytest.mark.parametrize("named", ["::1", "[::1]", "[::1]:1", "localhost,127.0.0.1,::1"])
async def test_no_proxy_may_name_an_ipv6_address(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    monkeypatch.setenv("NO_PROXY", named)
    assert "proxy" not in str(await failed("https://[::1]:1/"))
    assert "the proxy proxy.invalid:1" in str(await failed("https://[::2]:1/"))


@pytest.mark.parametrize("host", ["x..example", ".example", "x" * 64 + ".example"])
async def test_a_name_that_cannot_be_one(host: str) -> None:
    assert f"no connection to {host}:443: its name" in str(await failed(f"https://{host}/"))


async def test_what_is_wrong_with_an_address_does_not_show_its_password() -> None:
    async with HttpTransport(timeout_seconds=5, limit=1) as transport:
        with pytest.raises(TransportFailed) as caught:
            await transport.post("https://ann:s\u00e9cret@x\u2100.example/", b"", {})
    assert (str(caught.value), caught.value.sent) == ("not an http or https address", False)


async def failed(url: str) -> TransportFailed:
    async with HttpTransport(timeout_seconds=5, limit=1) as transport:
        with pytest.raises(TransportFailed) as caught:
            await transport.post(url, b"", {})
    assert (caught.value.kind, caught.value.sent) == (FailureKind.CONNECTION, False)
    return caught.value


async def test_a_handshake_that_never_ends_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr("app.http.dialling.CONNECT_SECONDS", 0.2)
    async with raw_server(talk) as port:
        assert "does not take connections" in str(await failed(f"https://127.0.0.1:{port}/"))


async def test_a_request_whose_turn_does_not_come_in_time_was_never_sent() -> None:
    seen: list[bytes] = []

    async def never(request: web.Request) -> web.Response:
        seen.append(await request.read())
        await asyncio.Event().wait()
        return web.Response()

    async with serving(never) as url, HttpTransport(timeout_seconds=0.4, limit=1) as transport:
        first = asyncio.create_task(transport.post(url, b"first", {}))
        while not seen:
            await asyncio.sleep(0.01)
        transport._timeout_seconds = 0.05
        with pytest.raises(TransportFailed) as second:
            await transport.post(url, b"second", {})
        with pytest.raises(TransportFailed) as given_up:
            await first
    assert (second.value.kind, second.value.sent) == (FailureKind.CONNECTION, False)
    assert (given_up.value.kind, given_up.value.sent) == (FailureKind.TIMEOUT, True)
    assert seen == [b"first"]


async def test_no_more_requests_are_under_way_than_the_limit() -> None:
    under_way, most = 0, 0

    async def count(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.Response()

    async with serving(count) as url, HttpTransport(timeout_seconds=5, limit=3) as transport:
        await asyncio.gather(*(transport.post(url, b"", {}) for _ in range(20)))
    assert most == 3


async def test_a_request_that_is_given_up_does_not_leave_its_answer_to_the_next_one() -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        if body == b"first":
            arrived.set()
            await go_on.wait()
        return web.Response(body=body)

    async with serving(echo) as url, HttpTransport(timeout_seconds=5, limit=1) as transport:
        first = asyncio.create_task(transport.post(url, b"first", {}))
        await arrived.wait()
        first.cancel()
        go_on.set()
        for number in range(3):
            assert (await transport.post(url, b"%d" % number, {})).body == b"%d" % number


async def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    closed = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await closed.wait()

    async with raw_server(once) as port, HttpTransport(timeout_seconds=5, limit=1) as transport:
        await transport.post(f"http://127.0.0.1:{port}", b"", {})
        (idle,) = transport._idle.values()
        closed.set()
        async with asyncio.timeout(5):
            while idle[0].reusable:
                await asyncio.sleep(0.001)
        assert (await transport.post(f"http://127.0.0.1:{port}", b"", {})).status == 200


async def test_a_connection_that_was_idle_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    peers: list[object] = []

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response()

    async with serving(note) as url, HttpTransport(timeout_seconds=5, limit=1) as transport:
        await transport.post(url, b"", {})
        await transport.post(url, b"", {})
        monkeypatch.setattr(transport_module, "KEEP_ALIVE_SECONDS", 0.0)
        await transport.post(url, b"", {})
    assert peers[0] == peers[1] != peers[2]


async def test_what_is_sent() -> None:
    seen: list[web.Request] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(body=await request.read())

    body = bytes(range(256)) * 1000
    async with serving(note) as url, HttpTransport(timeout_seconds=5, limit=1) as transport:
        assert (await transport.post(f"{url}/a%20b?c=d", body, {"SOAPAction": '"Update"'})).body == body
    assert seen[0].method == "POST" and seen[0].raw_path == "/a%20b?c=d"
    assert seen[0].headers["SOAPAction"] == '"Update"' and seen[0].headers["Host"] == url.removeprefix("http://")
    assert seen[0].headers["User-Agent"].startswith("profile-sync/")


async def test_a_compressed_answer_is_read() -> None:
    async def zipped(request: web.Request) -> web.Response:
        response = web.Response(text="x" * 10_000)
        response.enable_compression()
        return response

    async with serving(zipped) as url, HttpTransport(timeout_seconds=5, limit=1) as transport:
        assert (await transport.post(url, b"", {})).body == b"x" * 10_000


async def test_a_header_cannot_smuggle_another_one() -> None:
    async with serving(hello) as url, HttpTransport(timeout_seconds=5, limit=1) as transport:
        with pytest.raises(ValueError, match="line break"):
            await transport.post(url, b"", {"SOAPAction": "Update\r\nEvil: yes"})
