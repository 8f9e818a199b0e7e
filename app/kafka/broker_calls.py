"""How long aiokafka's client waits for a broker. One silent broker must not block the requests to the others.

Written against aiokafka 0.14.0, pinned; what is replaced here is internal to it. aiokafka's client has one timeout for
all requests. It must be longer than a rebalance, because JoinGroup and SyncGroup are answered when all members have
joined. With that timeout, a broker that is frozen, or whose packets are lost, costs a minute or two per request. So:

* Every other request has a short timeout.
* Commits of offsets have a connection of their own. A broker answers the requests of a connection in order, and takes
  up to 5 s for a commit when a replica is silent (offsets.commit.timeout.ms). Heartbeats must not wait behind it.
* While a join waits, its broker is asked on another connection whether it is still there.
* A broker that was silent gets no request for a moment. Until it has answered again, it is not chosen where any broker
  will do. It is dialled at the same time as the others; aiokafka makes one connection at a time.
* The kernel gives up unacknowledged bytes after the same timeout (TCP_USER_TIMEOUT).
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaError, NodeNotReadyError, RequestTimedOutError, UnknownTopicOrPartitionError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest

# A broker answers these only when all members of the group have joined.
WAIT_FOR_OTHERS = (JoinGroupRequest, SyncGroupRequest)

# The connection for commits, beside aiokafka's own two. A commit may take this much longer than another request.
COMMITS: Any = "commits"
COMMIT_SECONDS = 5.0

# Between two requests for metadata while a broker is silent: its partitions may have moved to another one.
METADATA_SECONDS = 1.0

# How long a producer waits for a topic that no broker knows. It may just be created, or its leaders elected.
TOPIC_SECONDS = 40.0

# Not on every system.
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


class Silence:
    """Brokers that let a request time out. Each gets no request for a while.

    Args:
        seconds: how long.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[Any, float] = {}

    def noticed(self, node: Any) -> None:
        """A broker did not answer in time."""
        self._until[node] = self._clock() + self._seconds

    def broken(self, node: Any) -> None:
        """A broker answered."""
        self._until.pop(node, None)

    def holds(self, node: Any) -> bool:
        """Whether a broker should get no request now."""
        return self._until.get(node, float("-inf")) > self._clock()

    def lasts(self, node: Any) -> bool:
        """Whether a broker has not answered since it was silent."""
        return node in self._until


def make_impatient(
    client: AIOKafkaClient,
    request_seconds: float,
    join_seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Replace the client's methods to connect, to send and to choose a broker. Call it before the client is started.

    Args:
        request_seconds: how long a broker may take to answer.
        join_seconds: the same for JoinGroup and SyncGroup; longer than the group's rebalance timeout.
    """
    silence = Silence(request_seconds, clock)
    connect, send, wait_on_metadata = client._get_conn, client.send, client._wait_on_metadata
    client._request_timeout_ms = int(request_seconds * 1000)
    next_metadata = clock()
    dialling: dict[Any, asyncio.Lock] = {}

    def speaks(node: Any) -> bool:
        # The broker is not silent if it has answered another request lately.
        return any(
            which == node and connection.connected() and time.monotonic() - connection._last_action < request_seconds
            for (which, _), connection in client._conns.items()
        )

    def alone(node: Any) -> bool:
        # With a single broker there is no other one to ask.
        return silence.holds(node) and len(client.cluster.brokers()) > 1

    async def get_conn(node: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        nonlocal next_metadata
        known = client._conns.get((node, group))
        if known is not None and known.connected():
            return known
        if alone(node):
            if clock() >= next_metadata:
                next_metadata = clock() + METADATA_SECONDS
                client.force_metadata_update()
            return None
        began = clock()
        # aiokafka has one lock for all connections; this gives it a lock per connection. aiokafka takes the lock before
        # another task can run.
        client._get_conn_lock_value = dialling.setdefault((node, group), asyncio.Lock())
        made = await connect(node, group=group, no_hint=no_hint)
        if made is not None:
            silence.broken(node)
            if group == COMMITS:
                made._request_timeout += COMMIT_SECONDS
            _limit_unacknowledged(made, request_seconds)
        elif clock() - began >= request_seconds:
            silence.noticed(node)
        return made

    async def is_there(node: Any) -> bool:
        try:
            await send(node, MetadataRequest([]))
        except KafkaError:
            return False
        return True

    async def send_join(node: Any, request: Any, group: ConnectionGroup) -> Any:
        connection = await client._get_conn(node, group=group)
        if connection is None:
            raise NodeNotReadyError(f"broker {node} cannot be reached")
        short, connection._request_timeout = connection._request_timeout, join_seconds
        try:
            waiting = connection.send(request)
        finally:
            connection._request_timeout = short
        answer = asyncio.ensure_future(waiting)
        try:
            while not (await asyncio.wait((answer,), timeout=request_seconds))[0]:
                if not await is_there(node):
                    # This makes the answer an error, and aiokafka looks for the group's coordinator again.
                    connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            return answer.result()
        except TimeoutError as error:
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise RequestTimedOutError from error
        finally:
            answer.cancel()

    async def send_timely(node: Any, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:
        try:
            if isinstance(request, WAIT_FOR_OTHERS):
                return await send_join(node, request, group)
            if isinstance(request, OffsetCommitRequest):
                group = COMMITS
            return await send(node, request, group=group)
        except RequestTimedOutError:
            if not speaks(node):
                silence.noticed(node)
            raise

    def any_node() -> Any:
        nodes = [broker.nodeId for broker in client.cluster.brokers()]
        heard = [node for node in nodes if not silence.lasts(node)]
        return random.choice(heard or nodes) if nodes else None  # noqa: S311 - spreads load

    async def wait_for_topic(topic: str) -> Any:
        # aiokafka uses the timeout of a request for this too.
        began = clock()
        while True:
            try:
                return await wait_on_metadata(topic)
            except UnknownTopicOrPartitionError:
                if clock() - began >= TOPIC_SECONDS:
                    raise

    client._get_conn, client.send, client.get_random_node = get_conn, send_timely, any_node
    client._wait_on_metadata = wait_for_topic


def _limit_unacknowledged(connection: Any, seconds: float) -> None:
    writer = connection._writer
    sock = writer.get_extra_info("socket") if writer is not None else None
    if sock is not None and _TCP_USER_TIMEOUT is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(seconds * 1000))
