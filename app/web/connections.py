"""Connections of the web server, with limits: how many, how long a request may take to come and to be answered.

Without them some hundred half-open connections use up the worker's file descriptors, and Kafka and the read models go
without. When all places are taken, the connection that has waited longest without a request makes way for a new one, so
that probes get through; a connection whose request is being answered never does.

Written against aiohttp 3.14; what is overridden here is how its application server makes and runs connections.
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

from app.web.headers import careful_headers
from app.web.problems import problem_answer

log = structlog.stdlib.get_logger(__name__)

CONNECTIONS_MOST = 200
# For a request's head to come, from the connection or the answer before it on. Also how long an idle connection stays.
HEAD_SECONDS = 20.0
# From its head until the last byte of its answer is on the way.
REQUEST_SECONDS = 60.0
# A handshake has this long; before it ends a connection has no place yet.
TLS_SECONDS = 5.0
# What comes after an answer that did not wait for it (the rest of a form that is too large) is read for this long.
LINGER_SECONDS = 2.0

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(RequestHandler):
    """One connection."""

    def __init__(self, manager: ConnectionServer, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._server = manager

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, if need be that of an idle connection."""
        if self._server.make_room():
            super().connection_made(transport)
        else:
            cast(asyncio.Transport, transport).abort()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered or waits."""
        return not self._request_in_progress and not self._messages

    def abort(self) -> None:
        """Close now, without another word."""
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
        """The answer to what is no request, or was met outside of all handlers: it quotes nothing of it."""
        if isinstance(exc, HttpProcessingError):
            log.info("malformed request refused", error=type(exc).__name__)
        else:
            log.error("request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        return _plain(HTTPStatus(status))


class ConnectionServer(web.Server):
    """Makes connections, and knows how many there are."""

    def make_room(self) -> bool:
        """Whether there is a place for one more; an idle connection is closed for it if there must be."""
        # In the order in which they were opened. Those that are closed and not yet forgotten have no transport.
        alive = [one for one in self.connections if one.transport is not None]
        if len(alive) < CONNECTIONS_MOST:
            return True
        for connection in alive:
            if isinstance(connection, Connection) and connection.is_idle:
                connection.abort()
                return True
        log.warning("a connection is refused: all are busy", connections=len(alive))
        return False

    def __call__(self) -> Connection:
        """A new connection, for asyncio."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An application behind such connections."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return ConnectionServer(made.request_handler, request_factory=made.request_factory, **made._kwargs)


async def _refuse_expectation(request: web.BaseRequest) -> web.StreamResponse:
    return _plain(HTTPStatus.EXPECTATION_FAILED)


def _plain(status: HTTPStatus) -> web.Response:
    text = "the request cannot be read" if status == HTTPStatus.BAD_REQUEST else status.description or status.phrase
    answer = problem_answer(status, text)
    careful_headers(answer.headers, page=False)
    answer.force_close()
    return answer
