"""One connection: answers in every framing, cut anywhere, and when it may be used again."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from app.http.answer import Answer
from app.http.connection import ConnectionBroke, HttpConnection, NotHttp
from app.http.limits import BODY_BYTES, HEADER_BYTES, AnswerTooLarge
from tests.support.examples import examples

BODY = b"<Envelope>\xc3\xa4</Envelope>"
# Without a time stamp: pytest-xdist wants the same test names in every worker.
ZIPPED = gzip.compress(BODY, mtime=0)
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n" + BODY


class Wire(asyncio.Transport):
    """The other end of a connection: what was sent, and whether it was cut."""

    def __init__(self, connection: HttpConnection, unsent: int = 0) -> None:
        super().__init__()
        self.connection = connection
        self.unsent = unsent
        self.sent = b""
        self.cut = False
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.cut = True
        self.connection.connection_lost(None)


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def asked(unsent: int = 0) -> tuple[HttpConnection, Wire, asyncio.Task[Answer]]:
    connection = HttpConnection()
    wire = Wire(connection, unsent)
    return connection, wire, asyncio.create_task(connection.exchange(b"request", in_seconds(60)))


async def started() -> tuple[HttpConnection, Wire, asyncio.Task[Answer]]:
    connection, wire, task = asked()
    await asyncio.sleep(0)
    assert wire.sent == b"request"
    return connection, wire, task


@pytest.mark.parametrize(
    ("answer", "status", "kept"),
    [
        (SIZED, 200, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED, 200, True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + SIZED, 200, True),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n" + BODY[:4] + b"\r\n%x\r\n" % (len(BODY) - 4)
         + BODY[4:] + b"\r\n0\r\n\r\n", 500, True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY, 200, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY, 200, False),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED, 200, True),
    ],
)  # fmt: skip
@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_an_answer_may_be_framed_and_cut_anyhow(answer: bytes, status: int, kept: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))

    async def received() -> None:
        connection, wire, task = await started()
        for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True):
            if start < end:
                connection.data_received(answer[start:end])
        assert await task == Answer(status, BODY)
        assert (connection.reusable, wire.cut) == (kept, not kept)

    asyncio.run(received())


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    connection, _, task = await started()
    connection.data_received(UNTIL_CLOSED[:-3])
    connection.data_received(UNTIL_CLOSED[-3:])
    await asyncio.sleep(0)
    assert not task.done()
    connection.eof_received()
    connection.connection_lost(None)
    assert await task == Answer(200, BODY)
    assert not connection.reusable


@pytest.mark.parametrize("part", [b"", SIZED[:20], SIZED[:-1], UNTIL_CLOSED[:20]])
async def test_an_answer_that_is_cut_off_is_none(part: bytes) -> None:
    connection, _, task = await started()
    if part:
        connection.data_received(part)
    connection.connection_lost(None)
    with pytest.raises(ConnectionBroke):
        await task


async def test_an_answer_without_a_length_on_a_connection_that_broke_is_none() -> None:
    connection, _, task = await started()
    connection.data_received(UNTIL_CLOSED)
    connection.connection_lost(ConnectionResetError())
    with pytest.raises(ConnectionBroke):
        await task


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED) - 5, ZIPPED[:-5]),
    ],
)
async def test_what_makes_no_sense_is_no_answer_and_closes_the_connection(answer: bytes) -> None:
    connection, wire, task = await started()
    connection.data_received(answer)
    with pytest.raises(NotHttp):
        await task
    assert wire.cut and not connection.reusable


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
BOMB = gzip.compress(b" " * (BODY_BYTES + 1), mtime=0)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"HTTP/1.1 200 ", b"O" * 1000),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 100),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 20),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 10**12, b"x" * 100_000),
        (CHUNKED, chunk(b"x" * 100_000)),
        (CHUNKED, b"1\r\nx\r\n" * 10_000),
        (CHUNKED, b"1;" + b"e" * 100_000 + b"\r\nx\r\n"),
        (CHUNKED + chunk(b"x") + b"0\r\n", b"X: x\r\n" * 100),
    ],
    ids=[
        "reason",
        "one header",
        "headers",
        "interim",
        "body",
        "length",
        "chunks",
        "small chunks",
        "extensions",
        "trailers",
    ],
)
async def test_an_answer_without_an_end_is_given_up_when_it_is_larger_than_is_read(begin: bytes, more: bytes) -> None:
    connection, wire, task = await started()
    connection.data_received(begin or more)
    received = len(begin)
    while not wire.cut and received < 2 * (BODY_BYTES + HEADER_BYTES):
        connection.data_received(more)
        received += len(more)
        await asyncio.sleep(0)
    assert wire.cut
    assert received < BODY_BYTES + 2 * HEADER_BYTES + len(more)
    with pytest.raises(AnswerTooLarge):
        await task
    assert not connection.reusable


async def test_headers_that_come_at_once_are_limited_too() -> None:
    connection, wire, task = await started()
    connection.data_received(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * HEADER_BYTES + b"Content-Length: 0\r\n\r\n")
    with pytest.raises(AnswerTooLarge, match="headers"):
        await task
    assert wire.cut


async def test_the_limit_is_one_of_each_answer() -> None:
    connection, _, task = await started()
    for _ in range(5):
        body = b"x" * (BODY_BYTES // 2)
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.data_received(body)
        assert (await task).body == body
        task = asyncio.create_task(connection.exchange(b"request", in_seconds(60)))
        await asyncio.sleep(0)
    task.cancel()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (BOMB, AnswerTooLarge),
        (ZIPPED * 11, AnswerTooLarge),
        (gzip.compress(b"", mtime=0) * 1000, AnswerTooLarge),
        (ZIPPED + ZIPPED[:-1], NotHttp),
        (ZIPPED[:-1], NotHttp),
        (ZIPPED[:-8] + b"12345678", NotHttp),
        (ZIPPED + b"x", NotHttp),
    ],
    ids=["bomb", "members", "empty members", "half a member", "cut off", "wrong sum", "rest"],
)
async def test_a_gzip_body_is_unpacked_within_limits(body: bytes, error: type[Exception]) -> None:
    connection, wire, task = await started()
    connection.data_received(GZIPPED + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(error):
        await task
    assert wire.cut


@pytest.mark.parametrize(("body", "holds"), [(b"", b""), (ZIPPED * 3, BODY * 3), (ZIPPED + b"\0" * 9, BODY)])
async def test_a_gzip_body_may_have_members_and_zeros_at_its_end(body: bytes, holds: bytes) -> None:
    connection, _, task = await started()
    connection.data_received(GZIPPED + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert (await task).body == holds


async def test_a_header_may_be_folded_over_lines() -> None:
    connection, _, task = await started()
    connection.data_received(
        b"HTTP/1.1 503 No\r\nVia: a,\r\n b\r\nRetry-After:\r\n\t7\r\nContent-Length:\r\n 2\r\n\r\nno"
    )
    assert await task == Answer(503, b"no", 7.0)
    assert connection.reusable


async def test_a_length_is_one_also_with_a_blank_before_its_colon() -> None:
    connection, _, task = await started()
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length : 9\r\n\r\npart")
    connection.connection_lost(None)
    with pytest.raises(ConnectionBroke):
        await task


async def test_retry_after_belongs_to_its_own_answer_only() -> None:
    connection, _, task = await started()
    connection.data_received(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
    assert await task == Answer(503, b"", 7.0)
    second = asyncio.create_task(connection.exchange(b"again", in_seconds(60)))
    await asyncio.sleep(0)
    connection.data_received(SIZED)
    assert await second == Answer(200, BODY)


async def test_when_the_deadline_has_passed_the_connection_is_given_up() -> None:
    connection = HttpConnection()
    wire = Wire(connection)
    with pytest.raises(TimeoutError):
        await connection.exchange(b"request", in_seconds(0.001))
    assert (wire.sent, wire.cut, connection.reusable) == (b"request", True, False)
    connection.data_received(SIZED)  # late: nobody waits for it
    assert not connection.reusable


async def test_an_answer_in_time_leaves_no_deadline_to_the_next_request() -> None:
    connection = HttpConnection()
    Wire(connection)
    first = asyncio.create_task(connection.exchange(b"request", in_seconds(0.02)))
    await asyncio.sleep(0)
    connection.data_received(SIZED)
    assert await first == Answer(200, BODY)
    second = asyncio.create_task(connection.exchange(b"again", in_seconds(60)))
    await asyncio.wait([second], timeout=0.05)
    connection.data_received(SIZED)
    assert await second == Answer(200, BODY)


async def test_the_next_exchange_may_begin_before_whoever_waits_for_the_answer_is_woken() -> None:
    connection = HttpConnection()
    wire = Wire(connection)
    then: list[asyncio.Task[Answer]] = []

    def on_answer(status: int) -> None:
        assert (status, connection.reusable, first.done()) == (503, True, False)
        then.append(asyncio.create_task(connection.exchange(b", again", in_seconds(60))))

    first = asyncio.create_task(connection.exchange(b"request", in_seconds(60), on_answer))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await asyncio.sleep(0)
    assert (wire.sent, wire.cut, first.done()) == (b"request, again", False, False), "it goes out first"
    assert await first == Answer(503, b"")
    connection.data_received(SIZED)
    assert await then[0] == Answer(200, BODY)


@pytest.mark.parametrize("late", ["deadline", "cancelled"])
def test_what_comes_after_the_answer_does_not_end_the_next_exchange(late: str) -> None:
    # uvloop, as in the worker: timers that are due run before whoever waits for an answer.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_answered_in_time(late))


async def _answered_in_time(late: str) -> None:
    connection = HttpConnection()
    wire = Wire(connection)
    first = asyncio.create_task(connection.exchange(b"request", in_seconds(0.01)))
    await asyncio.sleep(0)
    second = asyncio.create_task(connection.exchange(b", again", in_seconds(60)))
    connection.data_received(SIZED)
    if late == "deadline":
        time.sleep(0.02)  # a busy event loop: when it looks, there is an answer, and the deadline has passed
        assert await first == Answer(200, BODY)
    else:
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    await asyncio.sleep(0)
    assert (wire.sent, wire.cut) == (b"request, again", False)
    connection.data_received(SIZED)
    assert await second == Answer(200, BODY)


async def test_two_answers_to_one_request_end_the_connection() -> None:
    connection, wire, task = await started()
    connection.data_received(SIZED + SIZED)
    assert await task == Answer(200, BODY)
    assert wire.cut and not connection.reusable


async def test_the_beginning_of_a_second_answer_ends_the_connection() -> None:
    connection, wire, task = await started()
    connection.data_received(SIZED + SIZED[:10])
    assert await task == Answer(200, BODY)
    assert wire.cut and not connection.reusable


async def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    connection = HttpConnection()
    wire = Wire(connection)
    connection.data_received(SIZED)
    assert wire.cut
    with pytest.raises(ConnectionBroke):
        await connection.exchange(b"request", in_seconds(60))


async def test_an_answer_to_half_a_request_ends_the_connection() -> None:
    connection, wire, task = asked(unsent=100)
    await asyncio.sleep(0)
    connection.data_received(SIZED)
    assert await task == Answer(200, BODY)
    assert wire.cut and not connection.reusable


async def test_a_request_that_is_given_up_closes_the_connection() -> None:
    connection, wire, task = await started()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.cut and not connection.reusable


async def test_a_connection_that_the_other_side_is_closing_is_not_used_again() -> None:
    connection, _, task = await started()
    connection.data_received(SIZED)
    await task
    connection.eof_received()
    assert not connection.reusable


PIECES = [
    *(SIZED, SIZED[:30], UNTIL_CLOSED, BODY, ZIPPED, b"HTTP/1.1 ", b"200 OK", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n"),
    *(b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"5\r\n"),
    *(b"Retry-After: \xff", b"Retry-After: 1e999", b"Connection: close", b"HTTP/1.1 100 Continue\r\n\r\n", b":"),
]  # fmt: skip


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=12))
def test_whatever_comes_ends_in_an_answer_or_one_of_two_errors(pieces: list[bytes]) -> None:
    async def received() -> None:
        connection, wire, task = await started()
        for piece in pieces:
            if piece and not wire.cut:
                connection.data_received(piece)
                await asyncio.sleep(0)
        if not wire.cut:
            connection.connection_lost(None)
        with contextlib.suppress(ConnectionBroke, NotHttp):
            assert isinstance(await task, Answer)
        assert not connection.reusable

    asyncio.run(received())
