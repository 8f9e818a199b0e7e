"""The HTTP target of the side-by-side table: ``python -m bench.stub [ANSWER]``. Prints its port; ends with SIGTERM.

It answers ``POST /<milliseconds>[/...]`` after that time, with a static body or the file ``ANSWER``. ``GET /`` says how
many requests it answered and how many seconds they took together. SOAP reads are answered but not counted: a worker
reads the types of columns when it starts, and those calls belong to no event. The stub does nothing else with a
request, so that the measured program is the limit; ``ceiling`` measures the stub itself.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from app.broker.child_process import end, spawn_bound

ANSWER_BODY = b"<Answer>" + b"x" * 384 + b"</Answer>"
_READ = b'soapaction: "retrieve"'
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PORT = re.compile(r"^listening on (\d+)$", re.MULTILINE)
START_SECONDS = 20.0


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class _Server(asyncio.Protocol):
    """One connection. Requests need a Content-Length unless they have no body; one at a time."""

    answered = 0
    took_seconds = 0.0  # from the last byte of a request to its answer
    _static = _answer(ANSWER_BODY)

    def __init__(self) -> None:
        self._received = b""
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._later = asyncio.get_running_loop().call_later

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(received, 0, head)
        if len(received) < head + 4 + (int(length[1]) if length else 0):
            return
        self._received = b""
        if received.startswith(b"POST /"):
            self._asked = time.perf_counter()
            milliseconds = int(received[6 : received.index(b" ", 6)].partition(b"/")[0])
            if _READ in received[:head].lower():
                self._transport.write(self._static)
            elif milliseconds:
                self._later(milliseconds / 1000, self._respond)
            else:
                self._respond()
        else:
            self._transport.write(_answer(b"%d %f" % (_Server.answered, _Server.took_seconds)))

    def _respond(self) -> None:
        _Server.answered += 1
        _Server.took_seconds += time.perf_counter() - self._asked
        if not self._transport.is_closing():
            self._transport.write(self._static)


async def _serve(body: bytes) -> None:
    _Server._static = _answer(body)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(_Server, "127.0.0.1", 0, backlog=256)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()


@dataclass(frozen=True, slots=True)
class Answered:
    """The POST requests answered since the start, and how long they took together, measured in the stub."""

    calls: int
    seconds: float

    def ms_each_since(self, before: Answered) -> float:
        """The average time of a request, in ms; 0 if there was none."""
        calls = self.calls - before.calls
        return (self.seconds - before.seconds) / calls * 1e3 if calls else 0.0


@dataclass(frozen=True, slots=True)
class Stub:
    """A running stub."""

    port: int
    pid: int

    def url(self, milliseconds: int) -> str:
        """The address that answers after this many milliseconds."""
        return f"http://127.0.0.1:{self.port}/{milliseconds}"

    def answered(self) -> Answered:
        """The requests answered since the start."""
        with _http.open(f"http://127.0.0.1:{self.port}/", timeout=10) as answer:
            calls, seconds = answer.read().split()
            return Answered(int(calls), float(seconds))


# Ignores the environment's proxies: everything here is on loopback.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def stub(folder: Path, answer: Path | None = None) -> Iterator[Stub]:
    """A stub for the length of a ``with`` block. Its output goes to a file in ``folder``. ``answer``: a file to answer.

    Raises:
        RuntimeError: it did not start.
    """
    output = folder / "stub.log"
    process = spawn_bound([sys.executable, "-m", "bench.stub", *([str(answer)] if answer else [])], output=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := _PORT.search(output.read_text())) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the HTTP stub did not start: {output.read_text()}")
            time.sleep(0.02)
        yield Stub(int(found[1]), process.pid)
    finally:
        end(process, grace_seconds=5)


class _Caller(asyncio.Protocol):
    """Sends the next request as soon as it has the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.answers = 0
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received >= len(_Server._static):
            self._received = 0
            self.answers += 1
            self._transport.write(self._request)


def ceiling(target: Stub, milliseconds: int, connections: int, seconds: float = 2.0) -> float:
    """Requests per second that the stub answers on this machine to clients that do nothing else."""
    body = b"x" * 1024
    head = f"POST /{milliseconds} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"

    async def call() -> float:
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(partial(_Caller, head.encode() + body), "127.0.0.1", target.port)
            for _ in range(connections)
        ]
        callers = [caller for _, caller in made]
        await asyncio.sleep(seconds / 4)  # all connections are busy by then
        before, began = sum(caller.answers for caller in callers), time.perf_counter()
        await asyncio.sleep(seconds)
        done, took = sum(caller.answers for caller in callers) - before, time.perf_counter() - began
        for transport, _ in made:
            transport.abort()
        return done / took

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(call())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        main.run(_serve(Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else ANSWER_BODY))
