"""One silent broker of several: how long it is waited for, and that it is not in the way of the others."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import BrokerMetadata

from app.kafka.broker_calls import Silence, make_impatient

SILENT, HEALTHY = 1, 2
SHORT, LONG = 0.05, 5.0


class Connection:
    """To one broker; ``answers``: after so many seconds, None: never."""

    def __init__(self, timeout: float, answers: dict[type, float | None]) -> None:
        self._request_timeout = timeout
        self._answers = answers
        self._writer = None
        self._last_action = float("-inf")
        self._pending: list[asyncio.Future[str]] = []
        self.open = True
        self.timeouts: list[float] = []
        self.sent: list[type] = []

    def connected(self) -> bool:
        return self.open

    async def send(self, request: Any, expect_response: bool = True) -> str:
        raise NotImplementedError

    def close(self, reason: Any = None, exc: Any = None) -> None:
        self.open = False
        for waiting in self._pending:
            if not waiting.done():
                waiting.set_exception(KafkaConnectionError())


def sending(connection: Connection) -> Any:
    def send(request: Any, expect_response: bool = True) -> Any:
        timeout = connection._request_timeout
        connection.timeouts.append(timeout)
        connection.sent.append(type(request))
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection._pending.append(answer)
        after = connection._answers.get(type(request), 0.0)
        if after is not None:
            asyncio.get_running_loop().call_later(after, lambda: answer.done() or answer.set_result("answer"))
        return asyncio.wait_for(answer, timeout)

    return send


class Cluster:
    """Two brokers; ``answers``: how long each takes for a kind of request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[int, dict[type, float | None]] = {SILENT: {}, HEALTHY: {}}
        self.refuses: dict[int, float] = {}  # connections time out after so long
        self.dialled: Counter[int] = Counter()
        self.connections: list[Connection] = []
        monkeypatch.setattr("aiokafka.client.create_conn", self._connect)

    async def _connect(self, host: str, port: int, *, request_timeout_ms: int, **_: Any) -> Connection:
        self.dialled[port] += 1
        if port in self.refuses:
            await asyncio.sleep(self.refuses[port])
            raise TimeoutError
        made = Connection(request_timeout_ms / 1000, self.answers[port])
        made.send = sending(made)  # type: ignore[method-assign]
        self.connections.append(made)
        return made


@asynccontextmanager
async def impatient(brokers: int = 2) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:9")
    client.cluster._brokers = {node: BrokerMetadata(node, "127.0.0.1", node, None) for node in range(1, brokers + 1)}
    make_impatient(client, SHORT, LONG)
    yield client


async def test_a_request_has_the_short_time_a_join_the_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster(monkeypatch)
    async with impatient() as client:
        for kind, seconds in ((MetadataRequest, SHORT), (JoinGroupRequest, LONG), (SyncGroupRequest, LONG)):
            await client.send(HEALTHY, kind.__new__(kind))
            assert client._conns[HEALTHY, ConnectionGroup.DEFAULT].timeouts[-1] == seconds


async def test_a_silent_broker_is_left_alone_for_a_moment_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.answers[SILENT][MetadataRequest] = None
    async with impatient() as client:
        with pytest.raises(RequestTimedOutError):
            await client.send(SILENT, MetadataRequest([]))
        with pytest.raises(NodeNotReadyError):
            await client.send(SILENT, MetadataRequest([]))
        assert cluster.dialled[SILENT] == 1
        assert {client.get_random_node() for _ in range(50)} == {HEALTHY}
        assert await client.send(HEALTHY, MetadataRequest([])) == "answer"
        cluster.answers[SILENT].clear()
        async with asyncio.timeout(10):
            while not await client.ready(SILENT):
                await asyncio.sleep(0.01)
        assert await client.send(SILENT, MetadataRequest([])) == "answer"
        assert {client.get_random_node() for _ in range(50)} == {SILENT, HEALTHY}


async def test_a_broker_that_lets_nobody_connect_is_left_alone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.refuses[SILENT] = SHORT * 2
    async with impatient() as client:
        assert not await client.ready(SILENT)
        assert not await client.ready(SILENT)
        assert cluster.dialled[SILENT] == 1


async def test_a_broker_that_answers_other_requests_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.answers[HEALTHY][HeartbeatRequest] = None
    async with impatient() as client:
        assert await client.send(HEALTHY, MetadataRequest([])) == "answer"
        cluster.connections[0]._last_action = float("inf")
        with pytest.raises(RequestTimedOutError):
            await client.send(HEALTHY, HeartbeatRequest("g", 1, "m"), group=ConnectionGroup.COORDINATION)
        assert await client.ready(HEALTHY, group=ConnectionGroup.COORDINATION)


async def test_a_silent_broker_is_dialled_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.refuses[SILENT] = 3600.0
    async with impatient() as client:
        dialling = asyncio.create_task(client.ready(SILENT))
        while not cluster.dialled[SILENT]:
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await client.ready(HEALTHY)
        assert not dialling.done()
        dialling.cancel()


async def test_a_broker_that_was_silent_is_not_chosen_before_it_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    Cluster(monkeypatch)
    silence = Silence(0.0)
    monkeypatch.setattr("app.kafka.broker_calls.Silence", lambda *_: silence)
    async with impatient() as client:
        silence.noticed(SILENT)
        assert not silence.holds(SILENT)
        assert {client.get_random_node() for _ in range(50)} == {HEALTHY}
        assert await client.ready(SILENT)
        assert {client.get_random_node() for _ in range(50)} == {SILENT, HEALTHY}


async def test_the_only_broker_is_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.answers[SILENT][MetadataRequest] = None
    async with impatient(brokers=1) as client:
        for dialled in (1, 2, 3):
            with pytest.raises(RequestTimedOutError):
                await client.send(SILENT, MetadataRequest([]))
            assert cluster.dialled[SILENT] == dialled


async def test_a_slow_commit_is_waited_for_and_holds_up_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.answers[HEALTHY][OffsetCommitRequest] = SHORT * 5
    async with impatient() as client:
        await client.send(HEALTHY, HeartbeatRequest("g", 1, "m"), group=ConnectionGroup.COORDINATION)
        request = OffsetCommitRequest.__new__(OffsetCommitRequest)
        assert await client.send(HEALTHY, request, group=ConnectionGroup.COORDINATION) == "answer"
        heartbeats, commits = cluster.connections
        assert (heartbeats.sent, commits.sent) == ([HeartbeatRequest], [OffsetCommitRequest])


async def test_a_join_waits_as_long_as_its_broker_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.answers[HEALTHY][JoinGroupRequest] = SHORT * 5
    async with impatient() as client:
        request = JoinGroupRequest.__new__(JoinGroupRequest)
        assert await client.send(HEALTHY, request, group=ConnectionGroup.COORDINATION) == "answer"


async def test_a_join_is_given_up_when_its_broker_has_fallen_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.answers[SILENT] = {JoinGroupRequest: None, MetadataRequest: None}
    async with impatient() as client:
        request = JoinGroupRequest.__new__(JoinGroupRequest)
        async with asyncio.timeout(LONG - 1):
            with pytest.raises(KafkaConnectionError):
                await client.send(SILENT, request, group=ConnectionGroup.COORDINATION)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has TCP_USER_TIMEOUT")
async def test_the_kernel_gives_up_unacknowledged_bytes_after_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    cluster = Cluster(monkeypatch)
    async with impatient() as client:
        connect = cluster._connect

        async def real(*args: Any, **kwargs: Any) -> Connection:
            made = await connect(*args, **kwargs)
            made._writer = writer  # type: ignore[assignment]
            return made

        monkeypatch.setattr("aiokafka.client.create_conn", real)
        assert await client.ready(HEALTHY)
    option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert option == int(SHORT * 1000)
    writer.close()
    server.close()


def test_silence_passes() -> None:
    now = [0.0]
    silence = Silence(3.0, lambda: now[0])
    assert not silence.holds("a")
    silence.noticed("a")
    assert silence.holds("a")
    assert not silence.holds("b")
    now[0] = 3.0
    assert not silence.holds("a")
    silence.noticed("a")
    silence.broken("a")
    assert not silence.holds("a")
