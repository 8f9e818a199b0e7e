"""Limits of the web server: the number of connections, and the time for receiving and answering a request.

Without limits, a few hundred half-open connections would use up the worker's file descriptors, and Kafka and the read
models would get none. When the limit is reached, a new connection replaces the one that has been idle longest, so that
probes still get through. A connection whose request is being answered is never closed for another one.

Written against aiohttp 3.14: the overridden methods are those with which its server makes and runs connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from app.web.headers import add_security_headers
from app.web.problems import problem_answer

log = structlog.stdlib.get_logger(__name__)

CONNECTIONS_MOST = 200
# A request's head must arrive within this time, counted from the connection or the previous answer. An idle connection
# is closed after the same time.
HEAD_SECONDS = 20.0
# From a request's head until the last byte of its answer is sent.
REQUEST_SECONDS = 60.0
# For a TLS handshake. Until it has ended, the connection does not count towards the limit.
TLS_SECONDS = 5.0
# The server keeps reading for this long after an answer that did not wait for the whole request, such as "too large".
LINGER_SECONDS = 2.0

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(RequestHandler):
    """One connection, with a time limit for each request."""

    def __init__(self, manager: ConnectionServer, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._server = manager

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection if there is room, else abort it."""
        if self._server.make_room():
            super().connection_made(transport)
        else:
            cast(asyncio.Transport, transport).abort()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered and none is waiting."""
        return not self._request_in_progress and not self._messages

    def abort(self) -> None:
        """Close at once, without an answer."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    async def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: _Handle
    ) -> tuple[web.StreamResponse, bool]:
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            request_handler = _refuse_expectation
        too_slow = asyncio.get_running_loop().call_later(REQUEST_SECONDS, self.abort)
        try:
            return await super()._handle_request(request, start_time, request_handler)
        finally:
            too_slow.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a malformed request, or to an error outside all handlers. It quotes no part of the request."""
        if isinstance(exc, HttpProcessingError):
            log.info("malformed request refused", error=type(exc).__name__)
        else:
            log.error("request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer was already sent")
        return _plain(HTTPStatus(status))


class ConnectionServer(web.Server):
    """Makes connections and limits their number."""

    def make_room(self) -> bool:
        """Whether one more connection fits; closes an idle connection if the limit is reached."""
        # The oldest comes first. A closed connection that aiohttp still lists has no transport.
        alive = [one for one in self.connections if one.transport is not None]
        if len(alive) < CONNECTIONS_MOST:
            return True
        for connection in alive:
            if isinstance(connection, Connection) and connection.is_idle:
                connection.abort()
                return True
        log.warning("a connection was refused because all are busy", connections=len(alive))
        return False

    def __call__(self) -> Connection:
        """A new connection; called by asyncio."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application behind these limits."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return ConnectionServer(made.request_handler, request_factory=made.request_factory, **made._kwargs)


async def _refuse_expectation(request: web.BaseRequest) -> web.StreamResponse:
    return _plain(HTTPStatus.EXPECTATION_FAILED)


def _plain(status: HTTPStatus) -> web.Response:
    text = "the request cannot be read" if status == HTTPStatus.BAD_REQUEST else status.description or status.phrase
    answer = problem_answer(status, text)
    add_security_headers(answer.headers, page=False)
    answer.force_close()
    return answer
