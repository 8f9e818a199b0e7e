"""A worker that is asked to stop does so soon, whatever the group or the broker are doing, and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from app.broker.local_broker import LocalBroker
from app.profile.entities import Catalog
from tests.support.brokers import own_broker
from tests.support.deployment import Deploy, Deployment, deployed
from tests.support.profiles import fresh_consumer, new
from tests.support.simulator_probe import SimulatorProbe
from tests.support.worker_process import WorkerProcess, wait_for

# The drain gets a third of the session (6 s here), the last commit, the goodbye and the producers a few seconds each.
SOON_SECONDS = 15.0


def rebalances(worker: WorkerProcess) -> int:
    """How often the broker told the worker that its group rebalances."""
    return worker.log_text().count("because it is rebalancing")


def test_worker_stops_at_once_in_the_middle_of_a_rebalance(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_SESSION_TIMEOUT_SECONDS="20")
    first = deployment.worker().ready()
    second = deployment.worker().ready()
    heard = rebalances(second)
    assert first.terminate() == 0
    wait_for(lambda: rebalances(second) > heard, lambda: f"a rebalance:\n{second.log_tail()}", 20)
    # The worker is about to give up its partitions when it is asked to stop, as in a rolling restart.
    asked = time.monotonic()
    assert second.terminate() == 0
    assert time.monotonic() - asked < 10
    assert "without leaving" not in second.log_text()
    # Both have left the group, so the next worker need not wait for them.
    first.start().ready(within=15)


def members(deployment: Deployment) -> int:
    """The number of members in the group, according to the broker."""
    group = deployment.pipeline.group
    admin = AdminClient({"bootstrap.servers": deployment.kafka.bootstrap_servers})
    return len(admin.describe_consumer_groups([group])[group].result(10).members)


def test_worker_does_not_wait_for_a_stuck_one_that_holds_up_the_rebalance(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_SESSION_TIMEOUT_SECONDS="40")
    first, second = deployment.worker().ready(), deployment.worker().ready()
    wait_for(lambda: first.status("/readyz")[0] == 200, first.log_tail, 20)
    second.signal(signal.SIGSTOP)
    # A third worker joins: the group, and with it the first worker, waits for the stuck one until its session ends.
    third = deployment.worker()
    wait_for(lambda: first.status("/readyz")[0] == 503, lambda: f"a rebalance:\n{first.log_tail()}", 20)
    assert first.terminate(SOON_SECONDS) == 0
    assert third.terminate(SOON_SECONDS) == 0
    assert any("without waiting for the end of its rebalance" in one.log_text() for one in (first, third))
    # They have left the group, so no worker waits for the end of their sessions.
    wait_for(lambda: members(deployment) == 1, lambda: f"{members(deployment)} members", 5)


@pytest.fixture
def mortal_broker() -> Iterator[LocalBroker]:
    with own_broker() as broker:
        yield broker


@pytest.fixture
def installation(
    mortal_broker: LocalBroker, simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path
) -> Iterator[Deployment]:
    with deployed(mortal_broker.bootstrap_servers, simulator, catalog, tmp_path) as deployment:
        yield deployment


@pytest.mark.parametrize("blow", ["kill", "freeze"])
def test_worker_stops_soon_while_the_broker_is_away_and_loses_nothing(
    installation: Deployment, mortal_broker: LocalBroker, blow: str
) -> None:
    worker = installation.worker().ready()
    events = installation.publish(*(new(fresh_consumer()) for _ in range(20)))
    installation.settled(worker, len(events))
    with installation.simulator.fault("slow", delayMs=500):
        events += installation.publish(*(new(fresh_consumer()) for _ in range(40)))
        wait_for(lambda: worker.metric("profile_sync_in_flight") > 0, lambda: "work under way", 20)
        getattr(mortal_broker, blow)()
        assert worker.terminate(SOON_SECONDS) == 0
    if blow == "kill":
        mortal_broker.start()
    else:
        mortal_broker.thaw()
    worker.start().ready()
    assert installation.settled(worker, len(events))["synced"] == len(events)
