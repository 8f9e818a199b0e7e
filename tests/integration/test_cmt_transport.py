"""HTTP below the client: certificates, proxies, redirects, deadlines, and where a token may be sent."""

from __future__ import annotations

import asyncio
import math
import ssl
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from app.bundled import schema_path
from app.cmt.client import CmtClient
from app.cmt.errors import CallFailed
from app.http.answer import FailureKind, TransportFailed
from app.http.transport import HttpTransport
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType
from app.settings import CmtSettings, ConfigurationError
from tests.support.http_servers import hello, raw_server, serving


async def failure_of(url: str, *, ca_file: Path | None = None, timeout_seconds: float = 5.0) -> TransportFailed:
    async with HttpTransport(timeout_seconds=timeout_seconds, limit=2, ca_file=ca_file) as transport:
        with pytest.raises(TransportFailed) as caught:
            await transport.post(url, b"secret-body", {"Authorization": "secret-header"})
    assert "secret" not in str(caught.value)
    return caught.value


async def test_an_answer_has_status_body_and_the_pause_that_was_asked_for() -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=503, text="busy", headers={"Retry-After": "7"})

    async with serving(busy) as url, HttpTransport(timeout_seconds=5, limit=2) as transport:
        answer = await transport.post(url, b"", {})
    assert (answer.status, answer.body, answer.retry_after) == (503, b"busy", 7.0)


async def test_connections_are_kept_and_used_again() -> None:
    peers: set[object] = set()

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response()

    async with serving(note) as url, HttpTransport(timeout_seconds=5, limit=2) as transport:
        for _ in range(10):
            await transport.post(url, b"", {})
    assert len(peers) == 1


async def test_a_certificate_of_an_unknown_authority_is_refused(server_tls: ssl.SSLContext) -> None:
    async with serving(hello, server_tls) as url:
        failure = await failure_of(url)
    assert (failure.kind, failure.sent) == (FailureKind.CERTIFICATE, False)
    assert "is refused (" in str(failure)


async def test_a_certificate_of_the_configured_authority_is_accepted(server_tls: ssl.SSLContext, ca_file: Path) -> None:
    async with (
        serving(hello, server_tls) as url,
        HttpTransport(timeout_seconds=5, limit=2, ca_file=ca_file) as transport,
    ):
        assert (await transport.post(url, b"there", {})).body == b"hello there"


async def test_a_certificate_for_another_host_is_refused(authority: trustme.CA, ca_file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    async with serving(hello, context) as url:
        assert (await failure_of(url, ca_file=ca_file)).kind == FailureKind.CERTIFICATE


async def test_a_port_without_tls_is_no_refused_certificate() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with raw_server(talk) as port:
        failure = await failure_of(f"https://127.0.0.1:{port}/")
    assert (failure.kind, failure.sent) == (FailureKind.CONNECTION, False)


@pytest.mark.parametrize(
    ("answer", "write", "said"),
    [
        (None, True, "Nothing was sent."),
        (b"", True, "Whether the write happened is unknown."),
        (b"", False, "broke."),
    ],
    ids=["certificate refused", "write broke", "read broke"],
)
async def test_a_message_says_what_is_known_of_the_write(
    answer: bytes | None, write: bool, said: str, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """A refused certificate is not an unknown outcome, and a read writes nothing."""

    async def token(request: web.Request) -> web.Response:
        here = f"https://127.0.0.1:{port}/"
        return web.json_response({"access_token": "t", "expires_in": 100, "soap_instance_url": here})

    async def breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100_000)

    authority = trustme.CA()
    unknown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(unknown)
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    async with raw_server(breaks, unknown if answer is None else server_tls) as port, serving(token) as url:
        settings = CmtSettings(auth_url=url, client_id="x", client_secret="y", ca_file=ca_file)  # type: ignore[arg-type]
        async with CmtClient(settings, catalog) as client:
            with pytest.raises(CallFailed) as caught:
                if write:
                    await client.delete([(EntityType.CONSUMER, {"ConsumerId": "c1"})])
                else:
                    await client.retrieve(EntityType.PET, "c1")
    error = caught.value.error
    assert error.message.endswith(said)
    assert ("CMT_CA_FILE" in error.message) == (answer is None)
    assert (error.code, error.outcome_unknown) == (
        ("CMT-CERTIFICATE", False) if answer is None else ("CMT-CONNECTION", True)
    )
    assert ("unknown" in error.message) == (write and answer is not None)


def test_a_ca_file_without_certificates_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("no certificates here")
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    settings = CmtSettings(auth_url="https://127.0.0.1", client_id="x", client_secret="y", ca_file=path)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"CMT_CA_FILE: .*empty\.pem holds no PEM certificates"):
        CmtClient(settings, catalog)


async def test_plain_http_to_another_machine_is_refused_before_anything_is_sent() -> None:
    failure = await failure_of("http://192.0.2.1/Service.asmx")
    assert (failure.kind, failure.sent) == (FailureKind.ADDRESS, False)


async def test_a_token_answer_cannot_send_calls_to_a_plain_address() -> None:
    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "expires_in": 100, "soap_instance_url": "http://192.0.2.1/"})

    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    async with serving(token) as url:
        settings = CmtSettings(auth_url=url, client_id="x", client_secret="y")  # type: ignore[arg-type]
        async with CmtClient(settings, catalog) as client:
            with pytest.raises(CallFailed) as caught:
                await client.retrieve(EntityType.PET, "c1")
    assert caught.value.error.code == "CMT-TOKEN-MALFORMED"


async def test_redirects_are_not_followed() -> None:
    followed: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        followed.append(request.path)
        return web.Response(status=307, headers={"Location": "/other"})

    async with serving(elsewhere) as url, HttpTransport(timeout_seconds=5, limit=2) as transport:
        assert (await transport.post(f"{url}/first", b"", {})).status == 307
    assert followed == ["/first"]


async def never(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def test_a_request_without_an_answer_ends_at_the_deadline() -> None:
    async with serving(never) as url:
        failure = await failure_of(url, timeout_seconds=0.3)
    assert (failure.kind, failure.sent) == (FailureKind.TIMEOUT, True)


async def test_the_deadline_is_not_rounded_up_to_a_full_second() -> None:
    clock = asyncio.get_running_loop().time
    async with serving(never) as url:
        # Due just after a full second of the loop's clock: rounded up, it would be due almost a second later.
        due = math.floor(clock()) + 6.05
        await failure_of(url, timeout_seconds=due - clock())
        assert due <= clock() < due + 0.8


async def test_an_answer_that_trickles_meets_the_same_deadline() -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"<")
            await asyncio.sleep(0.02)

    async with serving(trickle) as url:
        assert (await failure_of(url, timeout_seconds=0.3)).kind == FailureKind.TIMEOUT


async def test_a_refused_connection_was_never_sent() -> None:
    async with raw_server(lambda reader, writer: asyncio.sleep(0)) as port:
        pass
    failure = await failure_of(f"http://127.0.0.1:{port}")
    assert (failure.kind, failure.sent) == (FailureKind.CONNECTION, False)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", FailureKind.CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut off", FailureKind.CONNECTION),
        (b"220 mail.example ESMTP\r\n", FailureKind.ANSWER),
    ],
)
async def test_a_broken_answer_leaves_the_outcome_open(answer: bytes, kind: FailureKind) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as port:
        failure = await failure_of(f"http://127.0.0.1:{port}")
    assert (failure.kind, failure.sent) == (kind, True)


async def test_https_goes_through_the_proxy_and_loopback_http_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with raw_server(refuse) as port, serving(hello) as url:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, f"http://user:proxy-secret@127.0.0.1:{port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        failure = await failure_of("https://x.example/Service.asmx")
        assert "proxy" in str(failure)
        assert (failure.kind, failure.sent) == (FailureKind.CONNECTION, False)
        assert asked == [b"CONNECT x.example:443 HTTP/1.1"]
        async with HttpTransport(timeout_seconds=5, limit=2) as transport:
            assert (await transport.post(url, b"you", {})).body == b"hello you"
        assert len(asked) == 1


class Refused(Exception):
    """What the test's permit raises."""


async def test_a_request_that_had_to_wait_for_a_connection_asks_again_before_it_is_sent() -> None:
    seen: list[bytes] = []
    peers: set[object] = set()
    answer, allowed = asyncio.Event(), True

    async def slow(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        seen.append(await request.read())
        await answer.wait()
        return web.Response(text="done")

    def permit() -> None:
        if not allowed:
            raise Refused

    async with serving(slow) as url, HttpTransport(timeout_seconds=10.0, limit=1) as transport:
        first = asyncio.create_task(transport.post(url, b"first", {}, permit=permit))
        while not seen:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(transport.post(url, b"second", {}, permit=permit))
        third = asyncio.create_task(transport.post(url, b"third", {}))
        await asyncio.sleep(0)
        allowed = False
        answer.set()
        assert (await first).body == b"done"
        with pytest.raises(Refused):
            await second
        assert (await third).body == b"done", "the connection is free again"
    assert seen == [b"first", b"third"]
    assert len(peers) == 1


@pytest.mark.parametrize("status", [200, 503])
async def test_the_next_request_has_its_turn_when_the_answer_is_there(status: int) -> None:
    peers: set[object] = set()
    told: list[bool] = []

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(status=status)

    async with serving(note) as url, HttpTransport(timeout_seconds=5, limit=1) as transport:
        waiting = [
            asyncio.create_task(transport.post(url, b"", {}, on_good_answer=lambda: told.append(waiting[0].done())))
            for _ in range(3)
        ]
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [status] * 3
        assert not transport._turns.locked()
        # Each was sent over the connection of the one before.
        assert len(peers) == 1
        if status == 200:
            assert told[0] is False, "it is told before the answer is given to whoever waits for it"
            assert len(told) == 3
        else:
            assert told == []
        await transport.post(url, b"", {})
        assert transport._turns._value == 1, "no turn is given back twice"
