"""Sends POSTs with a deadline, and keeps connections for reuse.

TLS certificates are always verified. Plain http is allowed on loopback only, also if an answer names the address, and
never goes through a proxy. https obeys HTTPS_PROXY and NO_PROXY.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from app import __version__
from app.http.address import Address, Origin, address_of
from app.http.answer import Answer, FailureKind, TransportFailed
from app.http.connection import ConnectionBroke, HttpConnection, NotHttp
from app.http.dialling import open_connection
from app.http.limits import AnswerTooLarge

# Shorter than the idle timeout of common servers and firewalls, so that they do not close a connection that a request
# is about to use.
KEEP_ALIVE_SECONDS = 15.0
_COMMON_HEADERS = f"User-Agent: profile-sync/{__version__}\r\nAccept-Encoding: gzip\r\n".encode()


class NotCertificates(Exception):
    """A file holds no PEM certificates; the text names it."""


class HttpTransport:
    """Use as an async context manager.

    Args:
        timeout_seconds: the limit for a whole request, from waiting for a connection to the last byte of the answer.
        limit: how many requests are in progress at the same time; others wait for their turn within their timeouts.
        ca_file: certificates to trust in addition to the system's.

    Raises:
        NotCertificates: ``ca_file`` holds no PEM certificates.
    """

    def __init__(self, *, timeout_seconds: float, limit: int, ca_file: Path | None = None) -> None:
        self._timeout_seconds = timeout_seconds
        self._turns = asyncio.Semaphore(limit)
        self._idle: dict[Origin, list[HttpConnection]] = {}
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            try:
                self._tls.load_verify_locations(ca_file)
            except (OSError, ssl.SSLError) as error:
                raise NotCertificates(f"{ca_file} holds no PEM certificates ({error})") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # the event loop closes the sockets

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        permit: Callable[[], None] | None = None,
        on_good_answer: Callable[[], None] | None = None,
    ) -> Answer:
        """Send a request and return the whole answer. Redirects are not followed: they would send the token elsewhere.

        ``permit`` is called once there is a connection, right before the first byte is sent: waiting for a connection
        may take long, and meanwhile the worker may lose the right to send. If it raises, nothing is sent and the caller
        gets its exception. ``on_good_answer`` is called when an answer with status 200 is complete; tasks that it wakes
        run before this method returns.

        Raises:
            TransportFailed: there was no answer in time, or no connection, or the connection broke.
        """
        try:
            address = address_of(url)
        except ValueError:  # its text may quote user and password
            raise TransportFailed(FailureKind.ADDRESS, "not an http or https address", sent=False) from None
        if not address.secure:
            raise TransportFailed(
                FailureKind.ADDRESS, f"{address.origin}: plain http is refused except on loopback", sent=False
            )
        request = _request(address, body, headers)
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        sent = answered = False

        def on_answer(status: int) -> None:
            nonlocal answered
            answered = True
            self._turns.release()
            self._keep(address.origin, connection)
            if status == 200 and on_good_answer is not None:
                on_good_answer()

        try:
            await self._turn(deadline)
            try:
                connection = self._kept(address.origin) or await self._opened(address.origin, deadline)
                if permit is not None:
                    try:
                        permit()
                    except BaseException:
                        self._keep(address.origin, connection)
                        raise
                sent = True
                return await connection.exchange(request, deadline, on_answer)
            finally:
                if not answered:
                    self._turns.release()
        except TimeoutError:
            after = f"within {self._timeout_seconds:g} s"
            if not sent:
                reason = f"no connection to {address.origin} {after}"
                raise TransportFailed(FailureKind.CONNECTION, reason, sent=False) from None
            raise TransportFailed(FailureKind.TIMEOUT, f"no answer of {address.origin} {after}", sent=True) from None
        except ConnectionBroke:
            raise TransportFailed(
                FailureKind.CONNECTION, f"the connection to {address.origin} broke", sent=True
            ) from None
        except AnswerTooLarge as error:
            raise TransportFailed(
                FailureKind.ANSWER, f"the answer of {address.origin} is too large: {error}", sent=True
            ) from None
        except NotHttp:
            raise TransportFailed(
                FailureKind.ANSWER, f"the answer of {address.origin} is not HTTP", sent=True
            ) from None

    async def _turn(self, deadline: float) -> None:
        if self._turns.locked():
            async with asyncio.timeout_at(deadline):
                await self._turns.acquire()
        else:
            await self._turns.acquire()  # without waiting

    async def _opened(self, origin: Origin, deadline: float) -> HttpConnection:
        async with asyncio.timeout_at(deadline):
            return await open_connection(origin, self._tls, self._timeout_seconds)

    def _keep(self, origin: Origin, connection: HttpConnection) -> None:
        if connection.reusable:
            self._idle.setdefault(origin, []).append(connection)

    def _kept(self, origin: Origin) -> HttpConnection | None:
        """The connection that was used last. So connections that are not needed grow old and are closed."""
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            if connection.reusable and time.monotonic() - connection.idle_since < KEEP_ALIVE_SECONDS:
                return connection
            connection.close()
        return None


def _request(address: Address, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers):
        raise ValueError("a header with a line break")
    return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (address.head, _COMMON_HEADERS, lines.encode(), len(body), body)
