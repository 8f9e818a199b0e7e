"""Rights that a running worker loses: it names the missing right, waits, and goes on when the right is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from app.delivery.pipeline import Pipeline
from app.profile.entities import Catalog
from tests.support.deployment import Deployment, deployed
from tests.support.profiles import fresh_consumer, new
from tests.support.rights import GuardedBroker, guarded_broker
from tests.support.simulator_probe import SimulatorProbe
from tests.support.worker_process import WorkerProcess, wait_for

# aiokafka refreshes its topics within this time while one is missing; the rest of the time is for a rebalance.
NOTICED_SECONDS = 60.0


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    with guarded_broker(tmp_path_factory.mktemp("rights")) as broker:
        yield broker


@pytest.fixture
def deployment(
    guarded: GuardedBroker, simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path
) -> Iterator[Deployment]:
    with deployed(guarded.bootstrap_servers, simulator, catalog, tmp_path, **guarded.login()) as made:
        yield made


@dataclass(frozen=True)
class Taken:
    """What is taken: ``operations`` of a resource, all of them when there are none. ``counted``: whether the worker
    still sees how much waits."""

    resource: Callable[[Pipeline], str]
    operations: tuple[AclOperation, ...] = ()
    kind: ResourceType = ResourceType.TOPIC
    counted: bool = False


TAKEN = {
    "reading the main topic": Taken(lambda pipeline: pipeline.topic, (AclOperation.READ,), counted=True),
    "seeing the main topic": Taken(lambda pipeline: pipeline.topic),
    "reading the retry topic": Taken(lambda pipeline: pipeline.retry_topic, (AclOperation.READ,)),
    "the group": Taken(lambda pipeline: pipeline.group, kind=ResourceType.GROUP),
}


def reasons(worker: WorkerProcess) -> str:
    status, document = worker.status("/readyz")
    return " | ".join(document["reasons"]) if status == 503 else str(status)


def lag(worker: WorkerProcess) -> float:
    return worker.metric("profile_sync_consumer_lag")


def unsettled(worker: WorkerProcess) -> int:
    """How many of the six events of the test below are settled."""
    return 6 - int(worker.totals()["events"])


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
def test_work_goes_on_when_a_right_is_given_back(guarded: GuardedBroker, deployment: Deployment, taken: Taken) -> None:
    worker = deployment.worker().ready()
    deployment.publish(new(fresh_consumer()))
    deployment.settled(worker, 1)
    name = taken.resource(deployment.pipeline)
    guarded.deny(name, *taken.operations, kind=taken.kind)
    try:
        wait_for(lambda: name in reasons(worker), lambda: f"{reasons(worker)}\n{worker.log_tail()}", NOTICED_SECONDS)
        deployment.publish(*(new(fresh_consumer()) for _ in range(5)))
        if taken.counted:
            # A fetch that was waiting when the right was taken may still bring some of them.
            wait_for(lambda: 0 < lag(worker) == unsettled(worker), lambda: f"a lag: {lag(worker)}", NOTICED_SECONDS)
    finally:
        guarded.permit(name, kind=taken.kind)
    deployment.settled(worker, 6, within=NOTICED_SECONDS)
    worker.ready()
    lost = [entry for entry in worker.log_entries() if entry["event"] == "a right on Kafka is missing; waiting for it"]
    assert any(name in str(entry) for entry in lost), worker.log_tail()
