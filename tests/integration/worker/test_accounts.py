"""Markets with accounts of their own: one that is down affects no other, and wrong credentials are rarely tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.broker import sources
from app.bundled import schema_path
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType
from tests.support.deployment import SETTLE_SECONDS, Deployment, deployed
from tests.support.profiles import fresh_consumer, new, pet, update
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import wait_for

GERMAN, POLISH = "510001", "510002"
OUTAGE = "CMT-OUTAGE:account-{}:-"
QUICK_BREAKER = {
    "SYNC_BREAKER_FAILURES": "5",
    "SYNC_BREAKER_PROBE_SECONDS": "0.3",
    "SYNC_BREAKER_ALERT_SECONDS": "0.5",
    # Sixteen times as many events may be taken, which is fewer than one market has here.
    "SYNC_CONCURRENCY": "2",
}


@pytest.fixture
def installation(broker: sources.Broker, tmp_path: Path) -> Iterator[Deployment]:
    """DE has an account and data extensions of its own, PL an account; no other market is known."""
    bundled = json.loads(schema_path("data-extensions.json").read_bytes())
    tables = bundled["dataExtensions"]
    german = {name: {"customerKey": f"DE_{table['customerKey']}"} for name, table in tables.items()}
    held = {f"DE {name}": {**table, **german[name]} for name, table in tables.items()}
    (tmp_path / "simulator.json").write_text(json.dumps({"dataExtensions": {**tables, **held}}))
    markets = {"DE": {"accountId": GERMAN, "dataExtensions": german}, "PL": {"accountId": POLISH}}
    file = tmp_path / "data-extensions.json"
    file.write_text(json.dumps({**bundled, "markets": markets}))
    with (
        running_simulator(
            tmp_path / "simulator.log", "--data-extensions", str(tmp_path / "simulator.json")
        ) as simulator,
        deployed(
            broker.bootstrap_servers,
            simulator,
            parse_catalog(file.read_bytes()),
            tmp_path,
            CMT_DATA_EXTENSIONS=str(file),
            **QUICK_BREAKER,
        ) as deployment,
    ):
        yield deployment


def of(market: str, deployment: Deployment) -> Catalog:
    """The data extensions of a market."""
    found = deployment.catalog.of_market(market)
    assert found is not None
    return found


def consumers(market: str, deployment: Deployment) -> set[str]:
    """The consumers with a parent row in the data extension of a market."""
    return {key[0] for key in deployment.simulator.rows(of(market, deployment))[EntityType.CONSUMER]}


def test_an_account_that_is_down_delays_no_event_of_another(installation: Deployment) -> None:
    simulator, events = installation.simulator, 150
    worker = installation.worker().ready()
    people = {market: [fresh_consumer(market) for _ in range(events)] for market in ("DE", "PL")}
    with simulator.fault("http_503", dataExtension="DE_CMT_Consumer"):
        installation.publish(
            *(new(people[market][n], market, pet=[pet("p")]) for n in range(events) for market in ("DE", "PL"))
        )
        wait_for(
            lambda: worker.metric("profile_sync_breaker_open", account=GERMAN) == 1,
            lambda: f"the breaker of one account opens\n{worker.log_tail()}",
            SETTLE_SECONDS,
        )
        assert installation.market_counts(worker, "PL", events) == {"synced": events}
        assert worker.metric("profile_sync_breaker_open", account=POLISH) == 0
        assert worker.totals()["events"] == events
        wait_for(
            lambda: simulator.incidents_of(OUTAGE.format(GERMAN)),
            lambda: f"an incident that names the account: {simulator.incidents()}",
            SETTLE_SECONDS,
        )
    totals = installation.settled(worker, 2 * events)
    assert totals["synced"] == 2 * events
    assert installation.dead_letters() == []
    assert consumers("DE", installation) == set(people["DE"])
    assert consumers("PL", installation) == set(people["PL"])
    assert [one["correlation_id"] for one in simulator.incidents()] == [
        f"{installation.pipeline.group}:{OUTAGE.format(GERMAN)}"
    ]


def test_a_null_value_deletes_where_the_consumer_was_written_last(installation: Deployment) -> None:
    worker = installation.worker().ready()
    person, stranger = fresh_consumer("known"), fresh_consumer("stranger")
    first = new(person, "DE", pet=[pet("p")])
    elsewhere = update(person, "FR", pet=[pet("p")])
    installation.publish(first)
    assert installation.outcome(worker, first)["outcome"] == "synced"
    assert consumers("DE", installation) == {person}

    [unknown] = installation.publish(elsewhere)
    assert installation.outcome(worker, elsewhere)["outcome"] == "invalid"
    [letter] = installation.dead_letters(unknown)
    assert letter.header("x-sync-reason") == b"EVENT-MARKET-UNKNOWN"
    assert b"FR" in (letter.header("x-sync-message") or b"")

    [gone] = installation.publish_raw([(person.encode(), None, None)])
    assert installation.outcome(worker, gone.id, person)["outcome"] == "synced"
    assert consumers("DE", installation) == set()

    [nowhere] = installation.publish_raw([(stranger.encode(), None, None)])
    assert installation.outcome(worker, nowhere.id, stranger)["outcome"] == "failed"
    [letter] = installation.dead_letters(nowhere)
    assert letter.header("x-sync-reason") == b"EVENT-MARKET-UNKNOWN"
    assert installation.simulator.calls(stranger) == []
    wait_for(
        lambda: installation.simulator.incidents_of("EVENT-MARKET-UNKNOWN:consumer:DELETE"),
        lambda: f"an erasure that was not done is an incident: {installation.simulator.incidents()}",
        SETTLE_SECONDS,
    )


def test_wrong_credentials_stop_with_an_incident_and_not_with_a_storm(installation: Deployment) -> None:
    simulator = installation.simulator
    wrong = installation.worker(CMT_CLIENT_SECRET="wrong").ready()
    events = installation.publish(*(new(fresh_consumer(), "PL") for _ in range(50)))
    wait_for(
        lambda: simulator.incidents_of(OUTAGE.format(POLISH)),
        lambda: f"an incident: {simulator.incidents()}\n{wrong.log_tail()}",
        SETTLE_SECONDS,
    )
    [incident] = simulator.incidents_of(OUTAGE.format(POLISH))
    assert "CMT-TOKEN-REFUSED" in incident["description"]
    assert "CMT_CLIENT_SECRET" in incident["description"]
    assert wrong.totals()["events"] == 0
    asked = simulator.stats()["tokensRefused"]
    assert 1 <= asked < 10, "fifty events, and a request for a token at first and at some of the probes"
    assert wrong.terminate() == 0
    right = installation.worker().ready()
    assert installation.settled(right, len(events))["synced"] == len(events)
    assert installation.dead_letters() == []
