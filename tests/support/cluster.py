"""Three brokers that replicate to each other, for tests in which one of them dies or stops answering."""

from __future__ import annotations

import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka.admin import AdminClient

from app.broker.broker_config import Ports
from app.broker.distribution import BrokerStartError
from app.broker.free_port import free_port
from app.broker.local_broker import LocalBroker
from tests.support.brokers import needed

NODES = 3
START_SECONDS = 120.0

# All topics are on all three brokers, and two in sync are enough to write.
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # Kafka's default: the controller waits this long before it gives a silent broker's partitions to others.
    "broker.session.timeout.ms": "9000",
    "broker.heartbeat.interval.ms": "2000",
}

_PASSWORD = "controller"
# With an authorizer, nothing is allowed until the rules are read, and for that the controllers must talk to each other.
# So they log in as a user who may do everything. Clients and replication stay anonymous.
LOGGED_IN_CONTROLLERS = {
    "super.users": "User:controller",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.controller.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="controller" password="{_PASSWORD}" user_controller="{_PASSWORD}";'
    ),
}


@dataclass
class Cluster:
    """``nodes`` by ID, 1 to 3. Each is broker and controller; tests may freeze, kill and restart them."""

    nodes: dict[int, LocalBroker]
    _admin: AdminClient | None = field(default=None, repr=False)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.nodes.values())

    def leader(self, topic: str, partition: int = 0) -> int:
        """The ID of the broker that leads a partition."""
        described = self.admin.list_topics(topic, timeout=20).topics[topic]
        return int(described.partitions[partition].leader)

    def coordinator(self, group: str) -> int:
        """The ID of the broker that coordinates a group."""
        described = self.admin.describe_consumer_groups([group])[group].result(20)
        return int(described.coordinator.id)

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "socket.timeout.ms": 3000})
        return self._admin

    def wait_for_all(self) -> None:
        """Return when all three have joined the cluster."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.admin.list_topics(timeout=20).brokers) < NODES:
            if time.monotonic() > deadline:
                raise BrokerStartError(f"Not all {NODES} brokers found each other within {START_SECONDS:g} s")
            time.sleep(0.05)

    def thaw(self) -> None:
        """Thaw all frozen nodes."""
        for node in self.nodes.values():
            node.thaw()


class _Node(LocalBroker):
    """One of the brokers. It keeps its ports, one for clients and one for controllers."""

    def __init__(
        self,
        node: int,
        cluster_id: str,
        clients: dict[int, int],
        controllers: dict[int, int],
        extra_config: Mapping[str, str],
    ) -> None:
        voters = ",".join(f"{one}@127.0.0.1:{port}" for one, port in controllers.items())
        own = {"node.id": str(node), "controller.quorum.voters": voters}
        config = {**REPLICATED, **own, **extra_config}
        super().__init__(clients[node], extra_config=config, heap_mb=256, start_seconds=START_SECONDS)
        self._cluster_id = cluster_id
        self._own_ports = Ports(clients[node], controllers[node])

    def _pick_ports(self) -> Ports:
        return self._own_ports


@contextmanager
def three_brokers(extra_config: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """The cluster, running for the length of a ``with`` block. ``extra_config``: server properties of each broker."""
    with needed(running_cluster(extra_config)) as cluster:
        yield cluster


@contextmanager
def running_cluster(extra_config: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Like ``three_brokers``, for use outside of tests.

    Raises:
        BrokerStartError: the brokers cannot be started.
    """
    ids = range(1, NODES + 1)
    clients, controllers = {one: free_port() for one in ids}, {one: free_port() for one in ids}
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    nodes: dict[int, LocalBroker] = {
        one: _Node(one, cluster_id, clients, controllers, extra_config or {}) for one in ids
    }
    try:
        # No broker is ready before two have started.
        with ThreadPoolExecutor(NODES) as pool:
            for started in [pool.submit(node.start) for node in nodes.values()]:
                started.result()
        cluster = Cluster(nodes)
        cluster.wait_for_all()
        yield cluster
    finally:
        for node in nodes.values():
            node.close()
