"""Rights that an account lacks: events that need them wait, the others go on, and one incident says what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.broker import sources
from app.profile.entities import Catalog
from tests.support.deployment import SETTLE_SECONDS, Deployment, deployed
from tests.support.profiles import contact, delete_profile, fresh_consumer, new, pet, update
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import WorkerProcess, wait_for

NO_PERMISSION = "Error: API Permission Failed. Object: DataExtensionObject"
NO_RIGHT, ONE_CHILD = "CMT-NOT-ALLOWED:event:-", "CMT-PERMISSION:pet:-"


@pytest.fixture
def installation(broker: sources.Broker, catalog: Catalog, tmp_path: Path) -> Iterator[Deployment]:
    """An installation with its own simulator, because these tests affect every call."""
    settings = {"SYNC_BREAKER_FAILURES": "5", "SYNC_BREAKER_PROBE_SECONDS": "0.3", "SYNC_BREAKER_ALERT_SECONDS": "1"}
    with (
        running_simulator(tmp_path / "simulator.log") as simulator,
        deployed(broker.bootstrap_servers, simulator, catalog, tmp_path, **settings) as deployment,
    ):
        yield deployment


def page_text(worker: WorkerProcess) -> str:
    return " ".join(worker.text("/").split())


def test_without_the_right_to_read_updates_wait_and_new_consumers_are_written(
    installation: Deployment, catalog: Catalog
) -> None:
    simulator = installation.simulator
    worker = installation.worker().ready()
    with simulator.fault("answer", operation="Retrieve", overallStatus=NO_PERMISSION):
        waiting = installation.publish(*(update(fresh_consumer(), pet=[pet("p")]) for _ in range(20)))
        wait_for(
            lambda: simulator.incidents_of(NO_RIGHT),
            lambda: f"an incident: {simulator.incidents()}\n{worker.log_tail()}",
            SETTLE_SECONDS,
        )
        passing = installation.publish(*(new(fresh_consumer(), pet=[pet("p")]) for _ in range(40)))
        wait_for(
            lambda: worker.totals()["synced"] == len(passing),
            lambda: f"the others are written: {worker.totals()}\n{worker.log_tail()}",
            SETTLE_SECONDS,
        )
        [incident] = simulator.incidents()
        assert (incident["impact"], incident["urgency"]) == ("1", "1")
        assert "may not read CMT_" in incident["description"]
        assert worker.totals()["parked"] == len(waiting)
        waits = f"({len(waiting)} in all)"
        wait_for(lambda: waits in page_text(worker), lambda: page_text(worker), SETTLE_SECONDS)
        assert "a right is missing" in page_text(worker)
        assert "may not read CMT_" in page_text(worker)
        assert worker.status("/readyz")[0] == 200, "other events go on"
        [said] = [
            entry
            for entry in worker.log_entries()
            if entry["event"] == "a right in Marketing Cloud is missing; events wait for it"
        ]
        assert "may not read CMT_" in said["missing"]
        assert worker.metric("profile_sync_breaker_open", account="default") == 0
    totals = installation.settled(worker, len(waiting) + len(passing))
    assert totals["synced"] == len(waiting) + len(passing)
    assert installation.dead_letters() == []
    assert simulator.rows(catalog) == installation.expected([*waiting, *passing])
    back = "the right is there again, work goes on"
    wait_for(lambda: back in worker.log_text(), worker.log_tail, SETTLE_SECONDS)


def test_a_right_that_one_childs_data_extension_lacks_costs_that_child(installation: Deployment) -> None:
    simulator, person = installation.simulator, fresh_consumer()
    worker = installation.worker().ready()
    refused = {"dataExtension": "CMT_Pet", "rowCode": 4711, "rowMessage": NO_PERMISSION}
    with simulator.fault("answer", operation="Update", **refused):
        event = new(person, contact=[contact("k")], pet=[pet("p")])
        installation.publish(event)
        assert installation.outcome(worker, event)["outcome"] == "partial"
        wait_for(
            lambda: simulator.incidents_of(ONE_CHILD),
            lambda: f"an incident: {simulator.incidents()}\n{worker.log_tail()}",
            SETTLE_SECONDS,
        )
        assert "may not write CMT_Pet" in simulator.incidents_of(ONE_CHILD)[0]["description"]
    with simulator.fault("answer", operation="Retrieve", dataExtension="CMT_Pet", overallStatus=NO_PERMISSION):
        erasure = delete_profile(person)
        [published] = installation.publish(erasure)
        assert installation.outcome(worker, erasure)["outcome"] == "failed"
        assert len(installation.dead_letters(published)) == 1
    assert {one["correlation_id"].partition(":")[2] for one in simulator.incidents()} == {ONE_CHILD}
