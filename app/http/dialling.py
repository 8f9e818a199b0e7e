"""Opens connections: looks up names, uses the first address that answers, speaks TLS and goes through proxies."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Any, cast
from urllib.request import getproxies, proxy_bypass

from aiohappyeyeballs import start_connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from yarl import URL

from app.http.address import Origin, basic
from app.http.answer import FailureKind, TransportFailed
from app.http.connection import HttpConnection
from app.http.limits import HEADER_BYTES

# A host that does not even accept the connection is down, so waiting for the whole timeout is pointless.
CONNECT_SECONDS = 10.0
# After this long without an answer, the host's next address is tried in parallel (RFC 8305 section 5).
NEXT_ADDRESS_SECONDS = 0.25
# SO_LINGER on, with 0 s: when the connection is closed, or the process dies, the kernel discards what it has not yet
# sent. Otherwise it would go on retransmitting a call that was given up, and the call could arrive after newer ones.
_DISCARD = struct.pack("ii", 1, 0)


async def open_connection(origin: Origin, tls: ssl.SSLContext, timeout_seconds: float) -> HttpConnection:
    """Connect to an origin. For https, use the proxy of HTTPS_PROXY unless NO_PROXY names the host.

    Args:
        origin: the endpoint to connect to.
        tls: the settings for https.
        timeout_seconds: the kernel ends the connection if the server acknowledges nothing for this long.

    Raises:
        TransportFailed: the connection cannot be made, or not within ``CONNECT_SECONDS``. Nothing was sent.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if not origin.tls:
                return await _to(origin, None, timeout_seconds)
            proxy = _proxy_for(origin)
            if proxy is None:
                return await _to(origin, tls, timeout_seconds)
            return await _through(proxy, origin, tls, timeout_seconds)
    except TimeoutError:
        raise _failed(f"{origin} does not take connections") from None
    except UnicodeError:  # IDNA: a part of the name is empty or too long; a ValueError that no caller expects
        raise _failed(f"no connection to {origin}: its name, or that of its proxy, cannot be one") from None
    except OSError as error:
        raise _unreachable(str(origin), error) from None


async def _to(origin: Origin, tls: ssl.SSLContext | None, timeout_seconds: float) -> HttpConnection:
    opened = await _connected(origin, timeout_seconds)
    _, connection = await asyncio.get_running_loop().create_connection(
        HttpConnection, sock=opened, ssl=tls, server_hostname=origin.host if tls else None
    )
    return connection


async def _connected(origin: Origin, timeout_seconds: float) -> socket.socket:
    def made(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(timeout_seconds * 1000)))
        return made

    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    try:
        return await start_connection(
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, loop=loop, socket_factory=made
        )
    except RuntimeError as error:  # what uvloop says of a socket that was closed meanwhile
        raise ConnectionError(str(error)) from None


def _proxy_for(origin: Origin) -> URL | None:
    address = getproxies().get("https")
    # NO_PROXY may name a host, or a host and port; it has IPv6 addresses without brackets.
    if not address or proxy_bypass(str(origin)) or proxy_bypass(origin.host):
        return None
    try:
        url = URL(address if "://" in address else f"http://{address}")
    except ValueError:  # its text may quote the password
        url = URL()
    if url.scheme not in ("http", "https") or not url.raw_host or url.port is None:
        raise _failed("HTTPS_PROXY is not the address of an http or https proxy")
    return url


async def _through(proxy: URL, origin: Origin, tls: ssl.SSLContext, timeout_seconds: float) -> HttpConnection:
    """Ask a proxy for a tunnel (RFC 9110 section 9.3.6), and speak TLS with the origin through it."""
    assert proxy.raw_host is not None and proxy.port is not None
    way = Origin(proxy.raw_host, proxy.port, proxy.scheme == "https")
    try:
        opened = await _connected(way, timeout_seconds)
        plain, tunnel = await asyncio.get_running_loop().create_connection(
            _Tunnel, sock=opened, ssl=tls if way.tls else None, server_hostname=way.host if way.tls else None
        )
    except OSError as error:
        raise _unreachable(f"the proxy {way}", error) from None
    try:
        try:
            status = await tunnel.ask(origin, basic(proxy) if proxy.user is not None else None)
        except OSError as error:
            raise _failed(f"the proxy {way} opens no way to {origin}: {error}") from None
        if not 200 <= status < 300:
            raise _failed(f"the proxy {way} refuses the way to {origin} (HTTP {status})")
        connection = HttpConnection()
        inner = await asyncio.get_running_loop().start_tls(plain, connection, tls, server_hostname=origin.host)
    except BaseException:
        plain.abort()
        raise
    connection.connection_made(cast(asyncio.Transport, inner))
    return connection


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel and reads only the headers of its answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._parser = HttpResponseParser(self)
        self._received = 0

    async def ask(self, origin: Origin, authorization: str | None) -> int:
        """The status of the proxy's answer."""
        lines = [f"CONNECT {origin} HTTP/1.1", f"Host: {origin}"]
        if authorization is not None:
            lines.append(f"Proxy-Authorization: {authorization}")
        assert self._transport is not None
        self._transport.write("\r\n".join((*lines, "", "")).encode("ascii"))
        return await self._status

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._end(ConnectionError("its answer is not HTTP"))
        if self._received > HEADER_BYTES:
            self._end(ConnectionError("its answer is too large"))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self._status.done():
            self._status.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionError("it closed the connection"))

    def _end(self, error: Exception) -> None:
        if not self._status.done():
            self._status.set_exception(error)


def _unreachable(place: str, error: OSError) -> TransportFailed:
    match error:
        case ssl.SSLCertVerificationError():
            reason = f"the certificate of {place} is refused ({error.verify_message})"
            return TransportFailed(FailureKind.CERTIFICATE, reason, sent=False)
        case ssl.SSLError():
            return _failed(f"no TLS connection to {place}: {error.reason or 'it was closed'}")
        case socket.gaierror():
            return _failed(f"no connection to {place}: the name is not known")
        case _:
            return _failed(f"no connection to {place}: {error.strerror or 'it was closed'}")


def _failed(reason: str) -> TransportFailed:
    return TransportFailed(FailureKind.CONNECTION, reason, sent=False)
