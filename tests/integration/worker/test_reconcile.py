"""A worker with ``SYNC_STRATEGY=reconcile``: each operation, from a Kafka record to calls, rows and counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.broker import sources
from app.profile.entities import Catalog
from app.profile.samples.samples import sample_events, to_json
from tests.support.deployment import Deployment, Published, deployed, without_nulls
from tests.support.profiles import (
    contact,
    delete_entities,
    delete_profile,
    fresh_consumer,
    fresh_market,
    new,
    pet,
    update,
)
from tests.support.simulator_probe import SimulatorProbe
from tests.support.worker_process import WorkerProcess

READ_PARENT = "Retrieve CMT_Consumer"
READ_ROWS = [
    "Retrieve CMT_Child",
    "Retrieve CMT_Contact",
    "Retrieve CMT_DigitalAsset",
    "Retrieve CMT_Interest",
    "Retrieve CMT_OptIn",
    "Retrieve CMT_Pet",
]
READ_ALL = sorted([READ_PARENT, *READ_ROWS])
ROWS: dict[str, Any] = {
    "contact": [contact("k1", Type="Email", IsPrimary=True)],
    "pet": [pet("p1", Name="Rex", WeightKg=12.5), pet("p2", Name="Tom")],
}
EVENTS = 150


@pytest.fixture(scope="module")
def reconciling(
    broker: sources.Broker, simulator: SimulatorProbe, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """One worker with this strategy for all tests. Each test uses consumers and markets of its own."""
    folder = tmp_path_factory.mktemp("reconcile")
    with deployed(
        broker.bootstrap_servers, simulator, catalog, folder, SYNC_STRATEGY="reconcile", SYNC_MAX_ATTEMPTS="2"
    ) as deployment:
        deployment.worker().ready()
        yield deployment


@pytest.fixture
def worker(reconciling: Deployment) -> WorkerProcess:
    return reconciling.workers[0]


def said_after(
    deployment: Deployment, worker: WorkerProcess, event: dict[str, Any], outcome: str = "synced"
) -> list[str]:
    """The calls of an event, once it is settled. Its reads are made at the same time, so they are sorted by name."""
    consumer = str(event["consumerId"])
    before = len(deployment.simulator.said(consumer))
    deployment.publish(event)
    assert deployment.outcome(worker, event)["outcome"] == outcome
    said = deployment.simulator.said(consumer)[before:]
    reads = [call for call in said if call.startswith("Retrieve")]
    assert said[: len(reads)] == reads
    return sorted(reads) + said[len(reads) :]


def assert_rows_are_those_of(deployment: Deployment, consumer: str, published: list[Published]) -> None:
    held = deployment.simulator.rows(deployment.catalog, consumer)
    assert without_nulls(held) == without_nulls(deployment.expected(published))


def test_a_profiles_life(reconciling: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    assert said_after(reconciling, worker, new(consumer, **ROWS)) == [
        READ_PARENT,
        "Update CMT_Consumer",
        "Update CMT_Contact",
        "Update CMT_Pet",
        "Update CMT_Pet",
    ]
    assert said_after(reconciling, worker, update(consumer, **ROWS)) == READ_ALL  # nothing to do

    fewer = {"pet": [pet("p1", Name="Rexy", WeightKg=12.5), pet("p3", Name="Leo")], "contact": ROWS["contact"]}
    assert said_after(reconciling, worker, update(consumer, **fewer)) == [
        *READ_ALL,
        "Update CMT_Pet",
        "Update CMT_Pet",
        "Delete CMT_Pet",
    ]
    assert said_after(reconciling, worker, update(consumer, name="Eve", **fewer)) == [
        *READ_ROWS,
        "Update CMT_Consumer",
    ]
    assert said_after(reconciling, worker, delete_entities(consumer, contact=[contact("k1")])) == ["Delete CMT_Contact"]
    assert said_after(reconciling, worker, delete_profile(consumer)) == [
        *READ_ALL,
        "Delete CMT_Pet",
        "Delete CMT_Pet",
        "Delete CMT_Consumer",
    ]
    assert not any(reconciling.simulator.rows(reconciling.catalog, consumer).values())


def test_the_rows_after_an_update_are_those_that_replace_leaves(reconciling: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    published = reconciling.publish(
        new(consumer, **ROWS),
        last := update(consumer, name="Eve", pet=[pet("p2", Species="Cat"), pet("p3", WeightKg=1.50)]),
    )
    assert reconciling.outcome(worker, last)["outcome"] == "synced"
    assert_rows_are_those_of(reconciling, consumer, published)


def test_rows_that_were_right_already_are_counted_as_synced(reconciling: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    reconciling.publish(new(consumer, market, **ROWS), update(consumer, market, **ROWS))
    assert reconciling.market_counts(worker, market, events=2) == {"synced": 2}
    assert reconciling.record_counts(worker, market) == {
        "consumer NEW": (1, 0),
        "contact NEW": (1, 0),
        "pet NEW": (2, 0),
        "consumer UPDATE": (1, 0),
        "contact UPDATE": (1, 0),
        "pet UPDATE": (2, 0),
    }


@pytest.mark.parametrize(
    ("operation", "table", "outcome", "letters"),
    [
        ("Retrieve", "CMT_Pet", "failed", 1),
        ("Update", "CMT_Consumer", "failed", 1),
        ("Update", "CMT_Pet", "partial", 0),
        ("Delete", "CMT_Contact", "partial", 0),
    ],
)
def test_what_fails_for_good_has_the_outcome_of_its_phase(
    reconciling: Deployment, worker: WorkerProcess, operation: str, table: str, outcome: str, letters: int
) -> None:
    consumer = fresh_consumer()
    first = new(consumer, **ROWS)
    reconciling.publish(first)
    assert reconciling.outcome(worker, first)["outcome"] == "synced"
    kind = "server_fault" if operation == "Retrieve" else "row_error"
    changed = update(consumer, name="Eve", pet=[pet("p1", Name="Rexy")])
    with reconciling.simulator.fault(kind, operation=operation, dataExtension=table, consumerId=consumer):
        [published] = reconciling.publish(changed)
        assert reconciling.outcome(worker, changed)["outcome"] == outcome
    assert len(reconciling.dead_letters(published)) == letters


def test_after_a_stream_of_sample_events_the_rows_are_those_that_are_expected(
    reconciling: Deployment, worker: WorkerProcess
) -> None:
    events = [to_json(event) for event in sample_events(EVENTS, seed=31, consumers=12)]
    before = worker.totals()["events"]
    published = reconciling.publish_raw(
        (event["consumerId"].encode(), json.dumps(event).encode(), None) for event in events
    )
    totals = reconciling.settled(worker, before + EVENTS)
    assert totals["synced"] >= EVENTS
    expected = without_nulls(reconciling.expected(published))
    consumers = {str(event["consumerId"]) for event in events}
    held = without_nulls(reconciling.simulator.rows(reconciling.catalog))
    assert {
        entity: {key: row for key, row in rows.items() if key[0] in consumers} for entity, rows in held.items()
    } == expected
