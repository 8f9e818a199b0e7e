"""The name of a broker moves to another address, and the old one stops answering. Work goes on with the new one."""

from __future__ import annotations

import time
from pathlib import Path

from app.broker.free_port import free_port
from app.broker.local_broker import LocalBroker
from app.profile.entities import Catalog
from tests.support.brokers import own_broker
from tests.support.deployment import deployed
from tests.support.private_network import PrivateNetwork, in_private_network
from tests.support.profiles import fresh_consumer, new
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import wait_for

NAME, BEFORE, AFTER = "kafka.moves", "127.0.0.1", "127.0.0.5"
# The session of 6 s and what a busy machine needs.
NOTICED_SECONDS = 30.0


class NamedBroker(LocalBroker):
    """A broker that its clients know by name, at a changing address."""

    def __init__(self, network: PrivateNetwork) -> None:
        network.name(NAME, BEFORE)
        self._port, controller = free_port(), free_port()
        listeners = f"PLAINTEXT://0.0.0.0:{self._port},CONTROLLER://127.0.0.1:{controller}"
        super().__init__(
            self._port,
            extra_config={
                "listeners": listeners,
                "advertised.listeners": f"PLAINTEXT://{NAME}:{self._port}",
                "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            },
        )

    @property
    def bootstrap_servers(self) -> str:
        return f"{NAME}:{self._port}"


def test_work_goes_on_at_the_new_address(catalog: Catalog, tmp_path: Path) -> None:
    async def scenario(network: PrivateNetwork) -> float:
        with (
            own_broker(NamedBroker(network)) as broker,
            running_simulator(tmp_path / "simulator.log") as simulator,
            deployed(broker.bootstrap_servers, simulator, catalog, tmp_path) as deployment,
        ):
            worker = deployment.worker().ready()
            deployment.settled(worker, len(deployment.publish(*(new(fresh_consumer()) for _ in range(20)))))
            network.drop(int(broker.bootstrap_servers.rpartition(":")[2]))
            moved = time.monotonic()
            wait_for(lambda: worker.status("/readyz")[0] == 503, lambda: "its silence is noticed", NOTICED_SECONDS)
            network.name(NAME, AFTER)
            deployment.forget_producers()
            deployment.publish(*(new(fresh_consumer()) for _ in range(20)))
            assert deployment.settled(worker, 40)["synced"] == 40
            worker.ready()
            return time.monotonic() - moved

    print(f"\nsettled {in_private_network(scenario):.1f} s after the packets were dropped")
