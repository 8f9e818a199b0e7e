"""One HTTP/1.1 connection. It carries one request at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from app.http.answer import Answer
from app.http.limits import BODY_BYTES, HEADER_BYTES, AnswerTooLarge, unpacked
from app.http.retry_after import retry_after_seconds


class ConnectionBroke(Exception):
    """The connection ended before the answer did."""


class NotHttp(Exception):
    """The bytes received are not an HTTP answer."""


def _ignored(_status: int) -> None:
    pass


def _deliver(waiting: asyncio.Future[Answer], answer: Answer) -> None:
    if not waiting.done():
        waiting.set_result(answer)


class HttpConnection(asyncio.Protocol):
    """Sends a request and collects its answer. ``reusable``: the connection can carry another request."""

    def __init__(self) -> None:
        self.reusable = False
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None  # the caller that waits for an answer
        self._on_answer: Callable[[int], None] = _ignored
        self._parser = HttpResponseParser(self)
        # Accepts headers folded over several lines (RFC 9112 section 5.2): some gateways write them.
        self._parser.set_dangerous_leniencies(lenient_headers=True)
        self._body: list[bytes] = []
        self._retry_after: str | None = None
        self._received = self._header_bytes = 0
        self._gzip = self._framed = self._headers_complete = False

    async def exchange(self, request: bytes, deadline: float, on_answer: Callable[[int], None] = _ignored) -> Answer:
        """Send a request and return its answer. If this raises or is cancelled, the connection is closed.

        Args:
            request: the bytes of the whole request.
            deadline: when to give up, in seconds of the event loop's clock.
            on_answer: called with the status when the answer is complete. Tasks that it wakes run before the caller
                gets the answer; if the connection is ``reusable``, one of them may start the next exchange.

        Raises:
            TimeoutError: the deadline passed without a complete answer.
            ConnectionBroke: the connection is closed, or broke before the answer was complete.
            NotHttp: the answer is not valid HTTP.
            AnswerTooLarge: the answer exceeds the limits.
        """
        if self._transport is None or not self.reusable:
            raise ConnectionBroke
        self.reusable = False
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Answer] = loop.create_future()
        self._waiting, self._on_answer = waiting, on_answer
        self._received = self._header_bytes = 0
        timer = loop.call_at(deadline, self._give_up, waiting)
        self._transport.write(request)
        try:
            return await waiting
        finally:
            timer.cancel()
            if self._waiting is waiting:  # no answer was delivered
                self._waiting = None
                self.close()

    def close(self) -> None:
        """Close at once. Bytes not yet sent are discarded, also by the kernel (see ``dialling``)."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ready, with TLS if the origin needs it."""
        self._transport = cast(asyncio.Transport, transport)
        self.reusable, self.idle_since = True, time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Bytes arrived: part of the answer. Without a request they are unexpected, and the connection is closed."""
        if self._waiting is None or self._waiting.done():
            self.close()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._end(NotHttp())
        # Counts bytes that no callback sees too: an endless line, the framing of chunks, interim answers.
        most = HEADER_BYTES + (BODY_BYTES if self._headers_complete else 0)
        if self._received > most and self._waiting is not None:
            self._end(AnswerTooLarge(f"more than {most:,} bytes"))

    def eof_received(self) -> None:
        """The server will not answer another request."""
        self.reusable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended; this completes an answer that gave no length."""
        self.reusable = False
        self._transport = None
        if exc is None and self._headers_complete and not self._framed:
            self._answer()
        self._end(ConnectionBroke())

    # httptools

    def on_message_begin(self) -> None:
        """An answer begins. Without a waiting caller, close: it would be taken for the answer to the next request."""
        if self._waiting is None or self._waiting.done():
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer after a chunked body."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES:
            self._end(AnswerTooLarge(f"headers of more than {HEADER_BYTES:,} bytes"))
        match name.strip().lower():
            case b"content-length" | b"transfer-encoding":
                self._framed = True
            case b"content-encoding":
                self._gzip = value.strip().lower() in (b"gzip", b"x-gzip")
            case b"retry-after":
                self._retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The headers are complete; a body may follow."""
        self._headers_complete = True

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """An answer is complete; an interim answer (1xx) is followed by the final one."""
        if self._parser.get_status_code() >= 200:
            # If the server answered before the whole request was sent, the rest is still in the buffer: do not reuse.
            sent = self._transport is not None and self._transport.get_write_buffer_size() == 0
            self.reusable = sent and self._parser.should_keep_alive()
            self._answer()
        self._framed = self._headers_complete = False

    def _answer(self) -> None:
        if self._waiting is None or self._waiting.done():
            self.reusable = False
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._gzip:
            try:
                body = unpacked(body)
            except AnswerTooLarge as error:
                self._end(error)
                return
            except ValueError:
                self._end(NotHttp())
                return
        wait = None if self._retry_after is None else retry_after_seconds(self._retry_after, datetime.now(UTC))
        answer = Answer(self._parser.get_status_code(), body, wait)
        waiting, self._waiting = self._waiting, None
        self._body, self._retry_after, self._gzip = [], None, False
        self.idle_since = time.monotonic()
        if not self.reusable:
            self.close()
        self._on_answer(answer.status)
        # Tasks that on_answer woke run first, so a busy event loop sends the next requests before it processes answers.
        waiting.get_loop().call_soon(_deliver, waiting, answer)

    def _give_up(self, waiting: asyncio.Future[Answer]) -> None:
        if self._waiting is waiting:
            self._end(TimeoutError())

    def _end(self, error: Exception) -> None:
        self.reusable = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
