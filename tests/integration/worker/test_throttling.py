"""Throttling by Marketing Cloud costs no event and is one incident. A single odd event is not an outage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.broker import sources
from app.profile.entities import Catalog
from tests.support.deployment import SETTLE_SECONDS, Deployment, deployed
from tests.support.profiles import fresh_consumer, new, pet, update
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import wait_for

THROTTLED = "CMT-RATE-LIMITED:event:-"
# Half of the calls are throttled, and each of them waits for a second or two; one that is throttled many times in a
# row waits for up to a minute, so the throttling ends some time.
THROTTLED_CALLS = 200
THROTTLED_SECONDS = 120.0


@pytest.fixture
def installation(broker: sources.Broker, catalog: Catalog, tmp_path: Path) -> Iterator[Deployment]:
    """An installation with its own simulator, because these tests affect every call."""
    settings = {"SYNC_BREAKER_FAILURES": "5", "SYNC_BREAKER_PROBE_SECONDS": "0.3", "SYNC_BREAKER_ALERT_SECONDS": "1"}
    with (
        running_simulator(tmp_path / "simulator.log") as simulator,
        deployed(broker.bootstrap_servers, simulator, catalog, tmp_path, **settings) as deployment,
    ):
        yield deployment


def test_throttling_costs_no_event_and_is_one_incident_and_a_stop_does_not_wait_for_it(
    installation: Deployment, catalog: Catalog
) -> None:
    simulator = installation.simulator
    worker = installation.worker(SYNC_BREAKER_ALERT_SECONDS="600").ready()
    with simulator.fault("rate_limited", probability=0.5, times=THROTTLED_CALLS):
        people = [fresh_consumer() for _ in range(100)]
        events = installation.publish(
            *(new(person, pet=[pet("p")]) for person in people),
            *(update(person, pet=[pet("q")]) for person in people[:10]),
        )
        totals = installation.settled(worker, len(events), within=THROTTLED_SECONDS)
    assert simulator.faults_fired()["rate_limited"] >= THROTTLED_CALLS / 2
    assert totals["synced"] == len(events)
    assert installation.dead_letters() == []
    assert installation.retry_copies() == [], "nobody was parked: no attempt failed"
    assert simulator.rows(catalog) == installation.expected(events)
    assert worker.metric("profile_sync_breaker_open", account="default") == 0
    assert worker.terminate() == 0

    waiting = installation.worker().ready()
    with simulator.fault("answer", status=429, headers={"Retry-After": "3000"}):
        [published] = installation.publish(new(fresh_consumer()))
        wait_for(
            lambda: simulator.incidents_of(THROTTLED),
            lambda: f"an incident about the throttling: {simulator.incidents()}\n{waiting.log_tail()}",
            SETTLE_SECONDS,
        )
        assert waiting.metric("profile_sync_throttled", account="default") == 1
        [incident] = simulator.incidents()
        assert (incident["impact"], incident["urgency"]) == ("2", "1")
        assert waiting.terminate() == 0
    successor = installation.worker().ready()
    with simulator.fault("rate_limited", times=3):
        installation.publish(new(fresh_consumer()))
        assert installation.settled(successor, len(events) + 2)["synced"] == len(events) + 2
    # The limit of calls in progress is still lower than usual, but nothing is throttled any more.
    wait_for(
        lambda: successor.metric("profile_sync_throttled", account="default") == 0, successor.log_tail, SETTLE_SECONDS
    )
    assert successor.metric("profile_sync_calls_allowed", account="default") < 64
    assert installation.retry_copies(published) == []


def test_one_event_that_is_never_answered_is_no_outage(installation: Deployment) -> None:
    simulator, odd = installation.simulator, fresh_consumer("odd")
    worker = installation.worker().ready()
    with simulator.fault("answer", status=403, consumerId=odd):
        [published] = installation.publish(new(odd, pet=[pet("p")]))
        totals = installation.settled(worker, 1)
    assert (totals["failed"], totals["synced"]) == (1, 0)
    assert len(installation.dead_letters(published)) == 1
    assert worker.metric("profile_sync_breaker_open", account="default") == 0
    wait_for(
        lambda: simulator.incidents_of("CMT-ENDPOINT:consumer:NEW"),
        lambda: f"an incident about the event: {simulator.incidents()}",
        SETTLE_SECONDS,
    )
    assert len(simulator.incidents()) == 1
    assert "circuit breaker opened" not in worker.log_text()
