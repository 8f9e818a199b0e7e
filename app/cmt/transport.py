"""HTTP to Marketing Cloud: one pool of connections, limits and timeouts set, failures as entries of the registry.

TLS certificates are always verified. Plain http is for loopback only, also where an answer names the address; it never
goes through a proxy, whereas https follows HTTPS_PROXY and NO_PROXY.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from app import __version__
from app.domain import errors as registry
from app.domain.errors import ErrorEntry
from app.domain.retry_after import retry_after_seconds
from app.settings import ConfigurationError, is_loopback

# A host that does not even take the connection is down; there is no point in waiting for the whole timeout.
CONNECT_SECONDS = 10.0
# Shorter than the idle timeout of usual servers and firewalls, so that they do not close a connection under a request.
KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whatever its status. ``retry_after`` in seconds."""

    status: int
    body: bytes
    retry_after: float | None = None


class TransportFailed(Exception):
    """No answer. ``sent``: the request may have reached the other side. The text names the host, never the request."""

    def __init__(self, entry: ErrorEntry, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.entry = entry
        self.sent = sent


class HttpTransport:
    """POSTs with a deadline.

    Args:
        timeout_seconds: for a request as a whole, from connecting to the last byte of the answer.
        limit: connections open at the same time; at least the number of callers, else they wait for each other within
            their timeouts.
        ca_file: certificates to trust besides the system's.

    Raises:
        ConfigurationError: ``ca_file`` holds no certificates.
    """

    def __init__(self, *, timeout_seconds: float, limit: int, ca_file: Path | None = None) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_seconds,
            sock_connect=min(CONNECT_SECONDS, timeout_seconds),
            # aiohttp would round longer timeouts up to a full second; a worker's lease counts on this one.
            ceil_threshold=timeout_seconds + 1,
        )
        self._limit = limit
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            try:
                self._tls.load_verify_locations(ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError([f"CMT_CA_FILE: {ca_file} holds no PEM certificates ({error})"]) from None
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._connector: aiohttp.TCPConnector | None = None

    async def __aenter__(self) -> Self:
        self._connector = aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=self._tls)
        for scheme in ("http", "https"):
            self._sessions[scheme] = aiohttp.ClientSession(
                connector=self._connector,
                connector_owner=False,
                timeout=self._timeout,
                trust_env=scheme == "https",
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"profile-sync/{__version__}"},
                request_class=_Request,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        if self._connector is not None:
            await self._connector.close()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, permit: Callable[[], None] | None = None
    ) -> Answer:
        """Send and read the whole answer. Redirects are not followed: they would carry the token elsewhere.

        ``permit`` is called when there is a connection, right before the first byte goes out; what it raises goes to
        the caller, and nothing is sent.

        Raises:
            TransportFailed: no answer in time, no connection, or it broke.
        """
        _permit.set(permit)
        host, scheme, secure = _place(url)
        if not secure:
            raise TransportFailed(
                registry.CMT_ENDPOINT, f"{host}: plain http is refused except on loopback", sent=False
            )
        session = self._sessions[scheme]
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                content = await response.read()
                retry_after = response.headers.get("Retry-After")
                wait = None if retry_after is None else retry_after_seconds(retry_after, datetime.now(UTC))
                return Answer(response.status, content, wait)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failure(error, host, self._timeout.total or 0.0) from None


# Of the request that the current task makes.
_permit: ContextVar[Callable[[], None] | None] = ContextVar("permit", default=None)


class _Request(aiohttp.ClientRequest):
    """Asks for permission when the connection is there: waiting for one may take long, and a worker may lose the right
    to send meanwhile (frozen in the middle of it, it would send when it is thawed)."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        if (permit := _permit.get()) is not None:
            permit()
        return await super().send(conn)


@lru_cache(maxsize=64)  # a handful of addresses, asked for with every call
def _place(url: str) -> tuple[str, str, bool]:
    """Host and port, scheme, and whether the address may be given a token."""
    parts = urlsplit(url)
    return parts.netloc, parts.scheme, is_secure(url)


def is_secure(url: str) -> bool:
    """Whether an address may be given a token: https, or http on this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    )


def _failure(error: Exception, host: str, timeout_seconds: float) -> TransportFailed:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return TransportFailed(registry.CMT_CONNECTION, f"{host} does not take connections", sent=False)
        case TimeoutError():
            return TransportFailed(registry.CMT_TIMEOUT, f"no answer of {host} within {timeout_seconds:g} s", sent=True)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return TransportFailed(
                registry.CMT_CONNECTION, f"no trusted TLS connection to {host}; CMT_CA_FILE adds a CA", sent=False
            )
        case aiohttp.ClientConnectorDNSError():
            return TransportFailed(registry.CMT_CONNECTION, f"the name {host} is not known", sent=False)
        case aiohttp.ClientHttpProxyError():
            return TransportFailed(
                registry.CMT_CONNECTION, f"the proxy refuses the way to {host} (HTTP {error.status})", sent=False
            )
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or "unreachable"
            return TransportFailed(registry.CMT_CONNECTION, f"no connection to {host}: {reason}", sent=False)
        case aiohttp.InvalidURL():
            return TransportFailed(registry.CMT_ENDPOINT, f"{host} is not an address", sent=False)
        case aiohttp.ClientResponseError():
            return TransportFailed(registry.CMT_MALFORMED, f"the answer of {host} is not HTTP", sent=True)
        case _:
            return TransportFailed(registry.CMT_CONNECTION, f"the connection to {host} broke", sent=True)
