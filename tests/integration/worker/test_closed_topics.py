"""Topics of the group that accept no writes: the worker names topic and cause and waits; everything else goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import AclOperation, AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from app.delivery.pipeline import Pipeline
from app.kafka import topics
from app.profile.entities import Catalog
from tests.support.deployment import Deployment, deployed
from tests.support.profiles import fresh_consumer, new
from tests.support.rights import GuardedBroker, guarded_broker
from tests.support.simulator_probe import SimulatorProbe
from tests.support.topic_changes import TopicChanges
from tests.support.worker_process import WorkerProcess, wait_for


@dataclass(frozen=True)
class Site:
    """One worker whose user's rights the tests change."""

    guarded: GuardedBroker
    deployment: Deployment
    worker: WorkerProcess


@pytest.fixture(scope="module")
def site(simulator: SimulatorProbe, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("closed")
    with (
        guarded_broker(folder) as guarded,
        deployed(guarded.bootstrap_servers, simulator, catalog, folder, **guarded.login()) as deployment,
    ):
        yield Site(guarded, deployment, deployment.worker().ready())


@contextmanager
def not_allowed(site: Site, topic: str) -> Iterator[str]:
    site.guarded.deny(topic, AclOperation.WRITE)
    try:
        yield "the right WRITE on topic"
    finally:
        site.guarded.permit(topic)


@contextmanager
def deleted(site: Site, topic: str) -> Iterator[str]:
    TopicChanges(site.deployment).delete(topic)
    try:
        yield topic
    finally:
        topics.create(site.deployment.kafka, site.deployment.pipeline)


@contextmanager
def configured(site: Site, topic: str, name: str, wrong: str, right: str) -> Iterator[None]:
    admin = AdminClient({"bootstrap.servers": site.guarded.bootstrap_servers})

    def put(value: str) -> None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
        for answer in admin.incremental_alter_configs([resource]).values():
            answer.result(20)

    put(wrong)
    try:
        yield
    finally:
        put(right)


@contextmanager
def compacted(site: Site, topic: str) -> Iterator[str]:
    """Refuses records without a key."""
    with configured(site, topic, "cleanup.policy", "compact", "delete"):
        yield "refuses what this worker writes"


def dead(site: Site) -> None:
    """An event that ends in the dead-letter topic, with an alert; its record has no key where that matters."""
    consumer = fresh_consumer("dead")
    site.deployment.simulator.add_fault("row_error", consumerId=consumer, dataExtension="CMT_Consumer")
    site.deployment.publish(new(consumer))


def without_key(site: Site) -> None:
    site.deployment.publish_raw([(None, b"{}", None)], partition=0)


def parked(site: Site) -> None:
    consumer = fresh_consumer("parked")
    site.deployment.simulator.add_fault("http_503", consumerId=consumer, times=3)
    site.deployment.publish(new(consumer))


@dataclass(frozen=True)
class Closing:
    """How a topic is closed, and the event that needs it."""

    topic: Callable[[Pipeline], str]
    close: Callable[[Site, str], object]
    event: Callable[[Site], None]
    others_go_on: bool = True


CLOSINGS = {
    "no right on the dead letters": Closing(lambda pipeline: pipeline.dlq_topic, not_allowed, dead),
    "no right on the retry topic": Closing(lambda pipeline: pipeline.retry_topic, not_allowed, parked),
    "no right on the alerts": Closing(lambda pipeline: pipeline.alerts_topic, not_allowed, dead),
    "no right on the state": Closing(lambda pipeline: pipeline.state_topic, not_allowed, parked, others_go_on=False),
    "dead letters deleted": Closing(lambda pipeline: pipeline.dlq_topic, deleted, dead),
    "a record that is refused": Closing(lambda pipeline: pipeline.dlq_topic, compacted, without_key),
}


def reasons(worker: WorkerProcess) -> str:
    status, document = worker.status("/readyz")
    return " | ".join(document["reasons"]) if status == 503 else str(status)


@pytest.mark.parametrize("closing", CLOSINGS.values(), ids=CLOSINGS)
def test_a_topic_that_takes_no_writes_is_named_and_waited_for(site: Site, closing: Closing) -> None:
    worker, topic = site.worker, closing.topic(site.deployment.pipeline)
    before, letters = worker.totals(), len(site.deployment.dead_letters())
    with closing.close(site, topic) as cause:  # type: ignore[attr-defined]
        closing.event(site)
        wait_for(
            lambda: cause in reasons(worker) and topic in reasons(worker),
            lambda: f"{reasons(worker)}\n{worker.log_tail()}",
            60,
        )
        if closing.others_go_on:
            site.deployment.publish(*(new(fresh_consumer()) for _ in range(8)))
            wait_for(lambda: worker.totals()["synced"] >= before["synced"] + 8, worker.log_tail, 30)
        assert worker.running
    others = 8 if closing.others_go_on else 0
    site.deployment.settled(worker, before["events"] + others + 1, within=90)
    worker.ready()
    told = [entry for entry in worker.log_entries() if entry["event"] == "writes wait, everything else goes on"]
    assert any(entry["topic"] == topic and cause in str(entry["reason"]) for entry in told)
    if closing.topic(site.deployment.pipeline) == site.deployment.pipeline.dlq_topic and closing.close is not deleted:
        assert len(site.deployment.dead_letters()) == letters + 1, "the dead letter was sent once"


def test_a_stop_does_not_wait_for_a_topic_that_takes_no_writes(site: Site) -> None:
    worker, dlq = site.worker, site.deployment.pipeline.dlq_topic
    before = worker.totals()
    with not_allowed(site, dlq):
        dead(site)
        wait_for(lambda: dlq in reasons(worker), lambda: reasons(worker), 60)
        assert worker.terminate() == 0
        assert "work was cut off" not in worker.log_text()
        # A restart finds the topic closed still, and works.
        worker.start()
        wait_for(lambda: dlq in reasons(worker), lambda: f"{reasons(worker)}\n{worker.log_tail()}", 60)
        site.deployment.publish(new(fresh_consumer()))
        wait_for(lambda: worker.totals()["synced"] == before["synced"] + 1, worker.log_tail, 30)
    site.deployment.settled(worker, before["events"] + 2, within=60)
