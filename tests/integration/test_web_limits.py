"""What strangers may send to the web server, or keep from it: it goes on answering, and says nothing of its inside.

No broker: what is asked here needs none.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.observe.health import Reason, ReasonKind
from app.settings import KafkaSettings
from app.web import bodies, connections, forms, server
from app.web.connections import CONNECTIONS_MOST
from app.web.forms import LARGEST_FORM_BYTES
from app.web.letter_value import LARGEST_VALUE_BYTES
from tests.support.http_servers import serving
from tests.support.web_site import Site, running_site, token

AWAY = KafkaSettings(bootstrap_servers="127.0.0.1:1")
FORM = "application/x-www-form-urlencoded"
CAREFUL = ("X-Content-Type-Options", "X-Frame-Options", "Content-Security-Policy", "Cache-Control")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(AWAY, tmp_path, caught_up=False) as running:
        yield running


def _address(site: Site) -> tuple[str, int]:
    host, port = site.url.removeprefix("http://").split(":")
    return host, int(port)


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


async def _raw(site: Site, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a request sent as it is."""
    reader, writer = await asyncio.open_connection(*_address(site))
    writer.write(request)
    answer = await _until_closed(reader)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body


# Connections.
async def test_half_open_requests_do_not_keep_probes_out(site: Site) -> None:
    opened = [await asyncio.open_connection(*_address(site)) for _ in range(CONNECTIONS_MOST + 100)]
    for _, writer in opened:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert (await site.get("/healthz")).status == 200
    closed = await asyncio.wait_for(asyncio.gather(*(_until_closed(reader) for reader, _ in opened[:100])), 10)
    assert closed == [b""] * 100, "those that waited longest made way"
    for _, writer in opened:
        writer.close()


async def test_requests_that_are_being_answered_never_make_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MOST", 3)
    head = (
        f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    )
    busy = [await asyncio.open_connection(*_address(site)) for _ in range(3)]
    for reader, writer in busy:
        writer.write(head.encode())
        assert b"100 Continue" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10), "it is being answered"
    refused, extra = await asyncio.open_connection(*_address(site))
    assert await _until_closed(refused) == b""
    extra.close()
    for reader, writer in busy:
        writer.write(b"a=b=")
        assert (await asyncio.wait_for(reader.readline(), 10)).split()[1] == b"403", "it was answered to its end"
        writer.close()
    assert (await site.get("/healthz")).status == 200


async def test_a_request_whose_head_does_not_come_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    async with running_site(AWAY, tmp_path, caught_up=False) as site:
        reader, writer = await asyncio.open_connection(*_address(site))
        dripping = asyncio.create_task(_drip(writer))
        assert await _until_closed(reader) == b""
        dripping.cancel()
        writer.close()


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"X-Header: 1\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)


async def test_a_form_that_does_not_come_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "FORM_SECONDS", 0.2)
    head = f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n\r\n"
    status, _, _ = await _raw(site, head.encode() + b"csrf=")
    assert status == 408


async def test_an_answer_that_is_never_fetched_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    head = f"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n\r\n"
    reader, writer = await asyncio.open_connection(*_address(site))
    writer.write(head.encode() + b"csrf=")
    assert await _until_closed(reader) == b""
    writer.close()
    assert (await site.get("/healthz")).status == 200


async def test_over_tls_a_handshake_that_does_not_come_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TLS_SECONDS", 0.2)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    async with running_site(AWAY, tmp_path, caught_up=False, **tls) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
        writer.write(b"\x16\x03\x01")
        await _until_closed(reader)
        writer.close()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as client,
            client.get(site.url + "/login") as answer,
        ):
            assert answer.headers["Set-Cookie"].startswith("__Host-profile_sync_csrf=")


# Forms.
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_form_has_a_size(site: Site, chunked: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(LARGEST_FORM_BYTES // 1000 + 1):
            yield b"a" * 1000

    body: Any = parts() if chunked else b"a" * (LARGEST_FORM_BYTES + 1)
    answer = await site.get("/login", method="POST", data=body, headers={"Content-Type": FORM})
    assert answer.status == 413


async def _sent(site: Site, **headers: str) -> int:
    form = await site.get("/login")
    cookie = form.headers["Set-Cookie"].partition(";")[0]
    fields = urlencode({"token": token(), "csrf": cookie.partition("=")[2]})
    answer = await site.get(
        "/login", method="POST", data=fields, headers={"Content-Type": FORM, "Cookie": cookie} | headers
    )
    return answer.status


async def test_a_form_is_taken_from_our_own_pages_only(tmp_path: Path) -> None:
    async with running_site(AWAY, tmp_path, caught_up=False, public_url="http://127.0.0.1:9/sync") as site:
        for headers in (
            {},
            {"Origin": site.url},
            {"Origin": "http://127.0.0.1:9"},
            {"Sec-Fetch-Site": "same-origin", "Origin": site.url},
            {"Sec-Fetch-Site": "none"},
        ):
            assert await _sent(site, **headers) == 303, headers
        for headers in (
            {"Origin": "http://attacker.example"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Origin": "http://[::1"},
            {"Origin": site.url + ".attacker.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": site.url},
            {"Sec-Fetch-Site": "cross-site", "Origin": site.url},
        ):
            assert await _sent(site, **headers) == 403, headers


async def test_a_form_goes_with_its_session(site: Site) -> None:
    mine, other = token(sub="me"), token(sub="somebody else")
    page = (await site.get("/", headers={"Cookie": f"profile_sync_token={mine}"})).body.decode()
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    assert len(csrf) == 43
    for session, planted, status in ((mine, "", 303), (other, "", 403), (other, f"; profile_sync_csrf={csrf}", 403)):
        answer = await site.get(
            "/logout",
            method="POST",
            data=urlencode({"csrf": csrf}),
            headers={"Content-Type": FORM, "Cookie": f"profile_sync_token={session}{planted}"},
        )
        assert answer.status == status


async def test_behind_a_proxy_with_tls_cookies_belong_to_the_host_alone(tmp_path: Path) -> None:
    async with running_site(AWAY, tmp_path, caught_up=False, public_url="https://sync.example.com") as site:
        cookie = (await site.get("/login")).headers["Set-Cookie"]
        assert cookie.startswith("__Host-profile_sync_csrf=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        page = await site.get("/", headers={"Cookie": f"profile_sync_token={token()}"})
        assert page.status == 303, "a cookie that a neighbouring host may have set opens nothing"
        page = await site.get("/", headers={"Cookie": f"__Host-profile_sync_token={token()}"})
        assert page.status == 200


# Odd requests.
COOKIES = st.binary(max_size=60).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b""))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([b"profile_sync_token", b"profile_sync_csrf", b""]), raw=COOKIES)
@example(name=b"profile_sync_csrf", raw=b"\xff\xfe")
@example(name=b"profile_sync_token", raw=b"\xe4.\xf6.\xfc")
@example(name=b"profile_sync_token", raw=b'"\\377\\376.a.b"')
@example(name=b"", raw=b'=;;=,"\\')
def test_no_cookie_makes_an_error_of_ours(odd_site: _Running, name: bytes, raw: bytes) -> None:
    cookie = name + b"=" + raw if name else raw
    body = b"csrf=" + b"x" * 43
    head = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: " + cookie + b"\r\n"
    post = f"Content-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    for request in (b"GET /" + head + b"\r\n", b"GET /login" + head + b"\r\n", b"POST /login" + head + post):
        status, _, _ = odd_site.ask(request)
        assert status < 500, (request, status)


class _Running:
    """A site in a loop that stays, for tests of many examples."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._opened = contextlib.AsyncExitStack()
        self._site = self._runner.run(self._opened.enter_async_context(running_site(AWAY, folder, caught_up=False)))

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        return self._runner.run(_raw(self._site, request))

    def close(self) -> None:
        self._runner.run(self._opened.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def odd_site(tmp_path_factory: pytest.TempPathFactory) -> Any:
    running = _Running(tmp_path_factory.mktemp("odd"))
    yield running
    running.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /api/consumers/ann@example.com\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"ANN@EXAMPLE.COM / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nann@example.com\r\n\r\n", 400),
        (b"GET /" + b"ann@example.com" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: ann@example.com\r\n\r\n", 417),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: ann@example.com\r\n\r\n", 417),
    ],
)
async def test_a_malformed_request_gets_a_usual_answer_that_does_not_quote_it(
    site: Site, request_bytes: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answered, headers, body = await _raw(site, request_bytes)
    assert answered == status
    assert headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["status"] == status
    assert all(name in headers for name in CAREFUL)
    assert "aiohttp" not in headers["Server"]
    for text in (body.decode(), caplog.text):
        assert "ann@" not in text.lower()


# An identity provider.
def _signed(kid: str = "k") -> str:
    payload = {"aud": "profile-sync", "scope": "kpi:read", "exp": int(time.time()) + 600}
    return jwt.encode(payload, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": kid})


async def test_a_provider_that_hangs_delays_no_other_request(tmp_path: Path) -> None:
    asked, go_on = 0, asyncio.Event()

    async def hangs(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return web.Response(text="at last")

    async with serving(hangs) as url, running_site(AWAY, tmp_path, caught_up=False, jwks_url=url + "/keys") as site:
        waiting = [asyncio.create_task(site.get("/api/kpi/totals", _signed(f"k{n}"))) for n in range(50)]
        while not asked:
            await asyncio.sleep(0)
        assert (await site.get("/api/kpi/totals", token())).status == 200
        assert (await site.get("/readyz", _signed())).status in (200, 503) or pytest.fail("no answer")
        go_on.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {503}
        assert asked == 1, "one question for all"
        assert (await site.get("/api/kpi/totals", _signed())).status == 503
        assert asked == 1, "and none right after it failed"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys": 7}',
        b'{"keys": [7]}',
        b'{"keys": [{"kty": "RSA", "n": 7}]}',
        b"[" * 50_000,
        b'{"keys": []}',
        b"\xff\xfe",
        b"null",
        b"x" * 300_000,
    ],
    ids=str,
)
async def test_a_provider_that_answers_nonsense_is_no_fault_of_the_caller(tmp_path: Path, body: bytes) -> None:
    async def nonsense(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    async with serving(nonsense) as url, running_site(AWAY, tmp_path, caught_up=False, jwks_url=url) as site:
        answer = await site.get("/api/kpi/totals", _signed())
        assert answer.status == 503
        assert "WEB_JWKS_URL" in answer.json["detail"]
        assert answer.headers["Retry-After"]


# Readiness.
async def test_callers_without_a_token_learn_only_that_it_is_not_ready(site: Site) -> None:
    site.missing += [
        Reason(ReasonKind.KAFKA, "broker k1.internal is away"),
        Reason(ReasonKind.STATE, "topic x has no records"),
    ]
    for bearer in (None, "nonsense", token(scope="dlq:read")):
        answer = await site.get("/readyz", bearer)
        assert (answer.status, answer.json) == (503, {"ready": False, "reasons": ["kafka", "state"]})
    answer = await site.get("/readyz", token())
    assert answer.json["reasons"] == ["broker k1.internal is away", "topic x has no records"]


# Files.
async def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with running_site(AWAY, folder, caught_up=False) as site:
        assert (await site.get("/healthz")).status == 200
        assert folder.stat().st_mode & 0o777 == 0o700
        modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert len(modes) >= 2
    assert set(modes.values()) == {0o600}, modes


# Bodies of the API.
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_packed_body_is_limited_by_its_unpacked_size(site: Site, method: str) -> None:
    path = "/api/dead-letters/redrive" if method == "POST" else "/api/dead-letters/0-1/value"
    bearer, packed = token(scope="dlq:write"), {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 200_000_000, 1)
    assert len(bomb) < LARGEST_VALUE_BYTES
    assert (await site.get(path, bearer, method, data=bomb, headers=packed)).status == 413
    broken = await site.get(path, bearer, method, data=b"no gzip", headers=packed)
    assert (broken.status, broken.content_type) == (400, "application/problem+json")
    assert (await site.get("/healthz")).status == 200


async def test_a_body_that_does_not_arrive_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    bearer = token(scope="dlq:write")
    head = (
        f"POST /api/dead-letters/redrive HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}"
        "\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    status, _, body = await _raw(site, head.encode())
    assert (status, json.loads(body)["detail"]) == (408, "the body did not arrive within 0.05 s")
