"""What the person on call sees: command and page agree, and a broken producer is an incident."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.broker import sources
from app.delivery.invalid_window import MANY
from app.profile.entities import Catalog
from tests.support.deployment import SETTLE_SECONDS, Deployment, deployed
from tests.support.profiles import fresh_consumer, new
from tests.support.simulator_probe import running_simulator
from tests.support.worker_process import WorkerProcess, wait_for

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def installation(broker: sources.Broker, catalog: Catalog, tmp_path: Path) -> Iterator[Deployment]:
    quick = {"SYNC_BREAKER_FAILURES": "5", "SYNC_BREAKER_PROBE_SECONDS": "0.3", "SYNC_BREAKER_ALERT_SECONDS": "0.5"}
    with (
        running_simulator(tmp_path / "simulator.log") as simulator,
        deployed(broker.bootstrap_servers, simulator, catalog, tmp_path, **quick) as deployment,
    ):
        yield deployment


def status(installation: Deployment, *options: str) -> subprocess.CompletedProcess[str]:
    return command(installation, "status", *options)


def command(installation: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command, with KAFKA_* and nothing else."""
    kept = ("PATH", "HOME", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "KAFKA_GROUP")
    given = {**os.environ, **installation.settings, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={name: given[name] for name in (*kept, "COLUMNS") if name in given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def seen(installation: Deployment) -> tuple[int, dict[str, Any]]:
    done = status(installation, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def page(worker: WorkerProcess) -> str:
    with _direct.open(f"{worker.url}/", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def test_the_command_and_the_page_tell_the_same_truth(installation: Deployment) -> None:
    simulator = installation.simulator
    code, found = seen(installation)
    assert (code, found["headline"], found["workers"]) == (1, "no worker", [])

    worker = installation.worker().ready()
    events = installation.publish(*(new(fresh_consumer()) for _ in range(10)))
    installation.settled(worker, len(events))
    wait_for(lambda: seen(installation)[0] == 0, lambda: f"nobody is needed: {seen(installation)}", SETTLE_SECONDS)
    code, found = seen(installation)
    (told,) = found["workers"]
    assert (told["partitions"], told["ready"], told["silent"]) == ([0, 1, 2, 3], True, False)
    assert (found["level"], found["today"]["synced"], found["parked"]["events"]) == ("good", 10, 0)
    assert '<span class="badge good">complete</span>' in page(worker)
    text = status(installation).stdout
    assert "all is well" in text
    assert max(map(len, text.splitlines())) <= 80

    with simulator.fault("http_503"):
        events += installation.publish(*(new(fresh_consumer()) for _ in range(30)))
        away = re.compile('<span class="badge bad( person)?">Marketing Cloud is away</span>')
        wait_for(lambda: away.search(page(worker)), lambda: f"a red badge: {page(worker)[:2000]}", SETTLE_SECONDS)
        wait_for(lambda: bool(simulator.incidents()), lambda: "an incident", SETTLE_SECONDS)
        wait_for(lambda: bool(seen(installation)[1]["incidents"]), lambda: "it is remembered", SETTLE_SECONDS)
        code, found = seen(installation)
        assert (code, found["headline"], found["needsPerson"]) == (1, "Marketing Cloud is away", True)
        assert found["workers"][0]["accounts"][0]["state"] == "outage"
        assert found["incidents"][0]["number"] == simulator.incidents()[0]["number"]
        assert found["lag"]["records"] > 0
        assert found["lag"]["waitingSince"]
        done = status(installation)
        assert done.returncode == 1
        assert "MARKETING CLOUD IS AWAY, NEEDS A PERSON" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80
    installation.settled(worker, len(events))
    wait_for(lambda: seen(installation)[0] == 0, lambda: f"all is well again: {seen(installation)}", SETTLE_SECONDS)
    assert [one["state"] for one in simulator.incidents()] == ["6"]
    assert '<span class="badge good">complete</span>' in page(worker)

    assert worker.terminate() == 0
    code, found = seen(installation)
    assert (code, found["headline"], found["workers"]) == (1, "no worker", []), "who says goodbye is not silent"


def test_a_broken_producer_is_one_incident_of_little_urgency(installation: Deployment) -> None:
    simulator, worker = installation.simulator, installation.worker().ready()
    invalid = [(fresh_consumer().encode(), b"no JSON", None) for _ in range(MANY - 1)]
    installation.publish_raw(invalid)
    events = installation.publish(new(fresh_consumer()))
    installation.settled(worker, MANY)
    assert simulator.incidents() == []
    installation.publish_raw([(fresh_consumer().encode(), b"no JSON", None) for _ in range(200)])
    installation.settled(worker, MANY - 1 + len(events) + 200)
    wait_for(lambda: bool(simulator.incidents()), lambda: f"an incident\n{worker.log_tail()}", SETTLE_SECONDS)
    (incident,) = simulator.incidents()
    assert incident["correlation_id"] == f"{installation.pipeline.group}:EVENT-NOT-JSON:event:-"
    assert (incident["impact"], incident["urgency"]) == ("3", "2")
    assert sum(installation.ends(installation.pipeline.alerts_topic).values()) == 1, "not one alert for each event"


def test_a_dry_run_in_a_live_group_refuses_before_it_joins_and_status_says_why_it_ended(
    installation: Deployment,
) -> None:
    worker = installation.worker().ready()
    events = installation.publish(*(new(fresh_consumer()) for _ in range(8)))
    installation.settled(worker, len(events))

    intruder = installation.worker(SYNC_DRY_RUN="true")
    assert intruder.ended(60) == 2
    why = f"Group {installation.pipeline.group} does a real run"
    assert why in intruder.last_words()
    taken = [entry for entry in worker.log_entries() if entry["event"] == "took over"]
    assert len(taken) == 1, "the workers of the group were disturbed"

    def told() -> tuple[int, str]:
        code, found = seen(installation)
        return code, (found["lastEnd"] or {}).get("reason") or ""

    code, said = told()
    assert why in said
    assert code == 0, "the group works as before: nobody is needed"
    assert worker.ready()
    worker.kill9()
    code, said = told()
    assert why in said
    wait_for(lambda: told()[0] == 1, lambda: f"the killed one is missed: {seen(installation)}", SETTLE_SECONDS)
    assert "no worker" not in page(installation.worker().ready())


def test_a_dry_run_says_so_wherever_one_may_look(installation: Deployment) -> None:
    worker = installation.worker(SYNC_DRY_RUN="true").ready()
    events = installation.publish(*(new(fresh_consumer()) for _ in range(3)))
    installation.settled(worker, len(events))
    shown = page(worker)
    assert "DRY RUN" in shown
    assert worker.metric("profile_sync_dry_run") == 1
    assert "DRY RUN" in status(installation).stdout
    assert json.loads(command(installation, "kpi", "--json").stdout)["dryRun"] is True
    assert "DRY RUN" in command(installation, "kpi").stdout
    assert worker.terminate() == 0
    assert "DRY RUN" in status(installation).stdout, "its counts are those of a dry run, also without a worker"

    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    assert all(line["dry_run"] for line in lines)
    first, last = lines[0], lines[-1]
    assert first["event"].startswith("starting a DRY RUN")
    assert (first["topic"], first["group"]) == (installation.pipeline.topic, installation.pipeline.group)
    assert {"version", "pipeline", "target", "strategy", "own_topics"} <= first.keys()
    assert last["event"] == "stopped"
    assert [line for line in lines if line["event"] == "request"] == []
