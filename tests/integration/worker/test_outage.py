"""An outage of Marketing Cloud is not a flood; an aborted transaction is not an event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from app.broker import sources
from app.profile.entities import Catalog
from tests.support.deployment import SETTLE_SECONDS, Deploy, Deployment, deployed
from tests.support.profiles import fresh_consumer, new, pet
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import wait_for

OUTAGE = "CMT-OUTAGE:event:-"


@pytest.fixture
def installation(broker: sources.Broker, catalog: Catalog, tmp_path: Path) -> Iterator[Deployment]:
    """An installation with its own simulator, because these tests affect every call."""
    quick = {"SYNC_BREAKER_FAILURES": "5", "SYNC_BREAKER_PROBE_SECONDS": "0.3", "SYNC_BREAKER_ALERT_SECONDS": "0.5"}
    with (
        running_simulator(tmp_path / "simulator.log") as simulator,
        deployed(broker.bootstrap_servers, simulator, catalog, tmp_path, **quick) as deployment,
    ):
        yield deployment


@pytest.mark.parametrize("kind", ["http_503", "reset", "token_500"])
def test_an_outage_uses_up_no_attempt_and_becomes_one_incident_and_work_resumes_by_itself(
    installation: Deployment, catalog: Catalog, kind: str
) -> None:
    simulator = installation.simulator
    # The fault is for a write: the worker asks for column types before any event, which must not use it up.
    simulator.add_fault("expire_tokens", times=1, operation="Update")
    worker = installation.worker().ready()
    with simulator.fault(kind):
        events = installation.publish(*(new(fresh_consumer(), pet=[pet("p")]) for _ in range(30)))
        wait_for(
            lambda: simulator.incidents_of(OUTAGE),
            lambda: f"an incident about the outage: {simulator.incidents()}\n{worker.log_tail()}",
            SETTLE_SECONDS,
        )
        assert worker.metric("profile_sync_breaker_open", account="default") == 1
        assert worker.totals()["events"] == 0
    totals = installation.settled(worker, len(events))
    assert totals["synced"] == len(events)
    assert installation.dead_letters() == []
    assert simulator.rows(catalog) == installation.expected(events)
    assert [one["correlation_id"] for one in simulator.incidents()] == [f"{installation.pipeline.group}:{OUTAGE}"]
    wait_for(
        lambda: "answers again" in json.dumps(simulator.incidents_of(OUTAGE)[0]),
        lambda: f"a note that it is over: {simulator.incidents_of(OUTAGE)}",
        SETTLE_SECONDS,
    )


INACTIVE = (
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><soap:Fault>'
    "<faultcode>soap:Client</faultcode><faultstring>The API User is inactive.</faultstring>"
    "</soap:Fault></soap:Body></soap:Envelope>"
)
HOSTNAME = "<html><h2>Bad Request - Invalid Hostname</h2></html>"


def test_a_refusal_that_meets_every_call_is_an_outage_and_one_that_meets_one_event_is_its_own_fault(
    installation: Deployment, catalog: Catalog
) -> None:
    simulator, worker = installation.simulator, installation.worker().ready()
    events = installation.publish(*(new(fresh_consumer()) for _ in range(2)))
    installation.settled(worker, len(events))
    for number, (status, body, code) in enumerate(
        [(400, HOSTNAME, "CMT-HTTP-REFUSED"), (500, INACTIVE, "CMT-CLIENT-FAULT")], start=1
    ):
        with simulator.fault("answer", status=status, body=body):
            events += installation.publish(*(new(fresh_consumer()) for _ in range(15)))
            wait_for(
                lambda number=number: len(simulator.incidents_of(OUTAGE)) == number,  # type: ignore[misc]
                lambda: f"an incident: {simulator.incidents()}, {worker.totals()}\n{worker.log_tail()}",
                SETTLE_SECONDS,
            )
            assert worker.metric("profile_sync_breaker_open", account="default") == 1
            assert code in json.dumps(simulator.incidents_of(OUTAGE)[-1]), "it names the cause"
        assert installation.settled(worker, len(events))["synced"] == len(events)
        wait_for(
            lambda: "answers again" in json.dumps(simulator.incidents_of(OUTAGE)[-1]),
            lambda: f"a note that it is over: {simulator.incidents_of(OUTAGE)}",
            SETTLE_SECONDS,
        )
    assert installation.dead_letters() == []
    own = new(fresh_consumer("refused"))
    with simulator.fault("answer", status=400, body=HOSTNAME, consumerId=own["consumerId"]):
        (refused,) = installation.publish(own)
        others = installation.publish(*(new(fresh_consumer()) for _ in range(5)))
        totals = installation.settled(worker, len(events) + 6)
    assert (totals["failed"], totals["synced"]) == (1, len(events) + 5)
    assert len(installation.dead_letters(refused)) == len(installation.dead_letters()) == 1
    assert worker.metric("profile_sync_breaker_open", account="default") == 0
    assert simulator.rows(catalog) == installation.expected(events + others)


def test_a_worker_stops_quickly_and_loses_nothing_while_the_target_is_down(installation: Deployment) -> None:
    worker = installation.worker().ready()
    with installation.simulator.fault("http_503"):
        events = installation.publish(*(new(fresh_consumer()) for _ in range(20)))
        wait_for(
            lambda: worker.metric("profile_sync_breaker_open", account="default") == 1,
            lambda: f"the breaker opens\n{worker.log_tail()}",
            SETTLE_SECONDS,
        )
        assert worker.terminate() == 0
    successor = installation.worker().ready()
    assert installation.settled(successor, len(events))["synced"] == len(events)


def test_events_of_an_aborted_transaction_are_not_worked_on(deploy: Deploy) -> None:
    deployment = deploy()
    producer = Producer(
        {"bootstrap.servers": deployment.kafka.bootstrap_servers, "transactional.id": deployment.pipeline.group}
    )
    producer.init_transactions(30)
    aborted, committed = new(fresh_consumer("aborted")), new(fresh_consumer("committed"))
    for event, end in ((aborted, producer.abort_transaction), (committed, producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(deployment.pipeline.topic, json.dumps(event), event["consumerId"], partition=0)
        producer.flush(30)
        end(30)
    worker = deployment.worker().ready()
    assert deployment.settled(worker, 1)["synced"] == 1
    assert worker.consumer(aborted["consumerId"]) is None
    assert deployment.simulator.calls(aborted["consumerId"]) == []
    # The topic holds its records and the markers of both transactions; the worker must not wait for them.
    no_lag = 'profile_sync_consumer_lag{partition="0"} 0.0'
    wait_for(lambda: no_lag in worker.text("/metrics"), lambda: worker.text("/metrics"), 20)
