"""One of three brokers is frozen: its connections stay open, but it does not answer. Work goes on with the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.profile.entities import Catalog
from tests.support.cluster import Cluster, three_brokers
from tests.support.deployment import Deployment, deployed
from tests.support.profiles import fresh_consumer, new
from tests.support.simulator_probe import SimulatorProbe
from tests.support.worker_process import WorkerProcess, wait_for

# The controller waits 9 s before it gives a silent broker's partitions to others; with a session of 6 s work should go
# on within 16 s. A client that waits for the silent one needs 90 s and more.
MOVED_SECONDS = 40.0
WORK_SECONDS = 45.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with three_brokers() as running:
        yield running


@pytest.fixture
def deployment(cluster: Cluster, simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(cluster.bootstrap_servers, simulator, catalog, tmp_path, KAFKA_REPLICATION="3") as made:
        yield made


def settled(worker: WorkerProcess) -> int:
    status, totals = worker.status("/api/kpi/totals")
    return int(totals["events"]) if status == 200 else -1


@pytest.mark.parametrize("which", ["coordinator", "leader"])
def test_work_goes_on_with_the_others(cluster: Cluster, deployment: Deployment, which: str) -> None:
    worker = deployment.worker().ready()
    deployment.publish(*(new(fresh_consumer()) for _ in range(20)))
    deployment.settled(worker, 20)
    topic, partitions = deployment.pipeline.topic, range(deployment.kafka.partitions)
    coordinator = cluster.coordinator(deployment.pipeline.group)
    leaders = {cluster.leader(topic, number) for number in partitions} - {coordinator}
    frozen = coordinator if which == "coordinator" else leaders.pop()
    cluster.nodes[frozen].freeze()
    began = time.monotonic()
    try:
        if which == "coordinator":
            wait_for(lambda: worker.status("/readyz")[0] == 503, lambda: "its silence is noticed", MOVED_SECONDS)
        wait_for(
            lambda: frozen not in {cluster.leader(topic, number) for number in partitions},
            lambda: f"broker {frozen} still leads",
            MOVED_SECONDS,
        )
        moved = time.monotonic() - began
        deployment.forget_producers()
        deployment.publish(*(new(fresh_consumer()) for _ in range(40)))
        wait_for(lambda: settled(worker) == 60, lambda: f"{settled(worker)} settled\n{worker.log_tail()}", WORK_SECONDS)
        print(
            f"\n{which} {frozen} frozen, moved after {moved:.1f} s, all settled after {time.monotonic() - began:.1f} s"
        )
        worker.ready()
    finally:
        cluster.thaw()
