"""The `dlq` commands through a night: find, look closer, redrive, discard, cancel; on a real broker with a worker."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_readme_commands import blocks_of
from tests.integration.worker.test_redrive import held, refusing, until_counted
from tests.support.deployment import Deploy, Deployment
from tests.support.profiles import fresh_consumer, fresh_market, new, update
from tests.support.worker_process import WorkerProcess, wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]
SECONDS = 120


def runner(deployment: Deployment, folder: Path) -> Run:
    """Runs a command with ``KAFKA_*`` and a folder, and nothing else; without a terminal."""
    kept = {name: value for name, value in deployment.settings.items() if name.startswith("KAFKA_")}
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}

    def run(*arguments: str, code: int | None = 0, given: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            env=own | kept | {"DATA_DIR": str(folder), "COLUMNS": "80"},
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert code is None or done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("{")), done.stdout
        return done

    return run


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def run(shared: Deployment, tmp_path: Path) -> Run:
    """Runs a command about the shared installation."""
    return runner(shared, tmp_path)


def test_a_night(shared: Deployment, worker: WorkerProcess, run: Run) -> None:
    market, consumers = fresh_market(), [fresh_consumer() for _ in range(5)]
    with refusing(shared, consumers[4:]):
        with refusing(shared, consumers[:4]):
            published = shared.publish(*(new(consumer, market) for consumer in consumers))
            assert shared.market_counts(worker, market, 5) == {"failed": 5}

            # What is wrong, and with what?
            group = document(run("dlq", "stats", "--market", market, "--json"))["items"][0]
            kind = "CMT-ROW-INVALID:consumer:NEW"
            assert (group["fingerprint"], group["open"], group["consumers"]) == (kind, 5, 5)
            text = run("dlq", "stats").stdout
            assert f"{kind}\n" in text
            assert "  means    " in text
            first = document(run("dlq", "list", "--market", market, "--limit", "3", "--json"))
            rest = document(run("dlq", "list", "--market", market, "--cursor", first["next"], "--json"))
            assert {one["id"] for one in [*first["items"], *rest["items"]]} == {one.id for one in published}
            assert rest["next"] is None
            assert len(run("dlq", "list", "--market", market).stdout.splitlines()) == 12
            assert f"  {kind}  {consumers[0]}\n" in run("dlq", "list", "--market", market).stdout
            assert "--cursor" in run("dlq", "list", "--market", market, "--limit", "3").stderr
            assert "did you mean CMT-ROW-INVALID?" in run("dlq", "list", "--reason", "CMT-ROW-INVALD", code=1).stderr
            for command in ("stats", "export"):
                assert "three parts" in run("dlq", command, "--fingerprint", "CMT-ROW-INVALID:pet", code=1).stderr
            nothing = run("dlq", "stats", "--reason", "CMT-PERMISSION", "--market", market).stdout
            assert nothing.startswith("No dead letter matches. ")
            assert nothing.endswith(" open in all: profile-sync dlq stats\n")
            shown = run("dlq", "show", published[0].id).stdout
            assert consumers[0] in shown.replace("\n", "")
            assert "failed, CMT-ROW-INVALID" in shown
            event_id = first["items"][0]["eventId"]
            assert document(run("dlq", "show", event_id, "--json"))["eventId"] == event_id
            # Values are masked unless asked for, and that they were shown is logged.
            value = published[0].value.decode()
            shown_event = document(run("dlq", "show", published[0].id, "--json"))
            assert shown_event["masked"] is True
            assert consumers[0] in shown_event["value"]
            assert "Ann" not in shown_event["value"]
            open_one = run("dlq", "show", published[0].id, "--show-values", "--json")
            assert document(open_one)["value"] == value
            assert "values were shown" in open_one.stderr
            line = document(run("dlq", "export", published[0].id, "--show-values"))
            assert (line["id"], line["key"], line["value"]) == (published[0].id, consumers[0], value)
            masked = run("dlq", "export", "--market", market).stdout
            assert len(masked.splitlines()) == 5
            refused = run("publish", "--json", code=1, given=masked)
            assert [one["code"] for one in document(refused)["rejected"]] == ["EXPORT"] * 5
            assert "no dead letter has the ID or event ID" in run("dlq", "show", "9999-9", code=1).stderr

        # Nothing happens by accident.
        assert "--all" in run("dlq", "redrive", "--yes", code=2).stderr
        # Without a terminal there is no question, but the person sees what the task would be about.
        asked = run("dlq", "redrive", "--market", market, code=2)
        assert asked.stdout.startswith("5 dead letters to redrive:\n")
        assert "no task was made; without a terminal, give --yes" in asked.stderr
        assert run("dlq", "redrive", "--market", market, "--json", code=2).stdout == ""
        assert run("dlq", "redrive", "--market", "NONE", "--yes", code=1).stdout == ""
        assert "no operation NWE" in run("dlq", "redrive", "--operation", "NWE", "--yes", code=1).stderr
        assert run("dlq", "redrive", "--market", market, "--force", "--yes", code=2).stdout == ""
        assert run("dlq", "discard", "--market", market, "--yes", code=2).stdout == ""

        # A later state supersedes the first one; the last one fails again.
        shared.publish(update(consumers[0], market))
        until_counted(shared, worker, market, failed=5, synced=1)
        would = document(run("dlq", "redrive", "--market", market, "--dry-run", "--json"))
        assert (would["matched"], would["superseded"]) == (5, 1)
        assert {one["id"]: one["would"] for one in would["items"]}[published[0].id] == "superseded"
        said = run("dlq", "redrive", published[1].id, "--dry-run").stdout
        assert f"  {published[1].id}  send: NEW\n" in said
        assert run("dlq", "tasks").stdout.count(said) == 0  # nothing was written
        made = run("dlq", "redrive", "--fingerprint", kind, "--market", market, "--rate", "50", "--yes", "--json")
        task = document(made)
        assert (task["matched"], task["superseded"]) == (5, 1)
        until_counted(shared, worker, market, synced=4, superseded=1, failed=1)
        again = run("dlq", "redrive", published[4].id, "--yes", "--wait", code=1)
        assert "1 dead letter of task" in again.stderr

    [known] = document(run("dlq", "tasks", task["taskId"], "--json"))["items"]
    assert (known["state"], known["matched"], known["open"]) == ("done", 5, 1)
    assert known["outcomes"] == {"synced": 3, "superseded": 1, "failed": 1}
    assert "already settled: synced" in run("dlq", "redrive", published[1].id, "--yes", code=1).stderr
    assert "already done" in run("dlq", "cancel", task["taskId"], code=1).stderr

    run("dlq", "discard", published[4].id, "--note", "known test consumer", "--yes", "--wait")
    until_counted(shared, worker, market, synced=4, superseded=1, discarded=1)
    lines = document(run("dlq", "show", published[4].id, "--json"))["history"]
    assert [(line["action"], line["outcome"], line["note"]) for line in lines] == [
        ("failed", "failed", None),
        ("redrive", "failed", None),
        ("redrive", "failed", None),
        ("discard", "discarded", "known test consumer"),
    ]
    assert run("dlq", "list", "--market", market).stdout.startswith("No dead letter matches. ")
    assert held(shared, consumers) == set(consumers[:4])


def test_a_task_waits_for_a_worker_and_can_be_paused_and_cancelled(deploy: Deploy, tmp_path: Path) -> None:
    deployment = deploy()
    run = runner(deployment, tmp_path / "commands")
    assert run("dlq", "list").stdout == "No dead letter is open.\n"
    worker = deployment.worker().ready()
    market, consumers = fresh_market(), [fresh_consumer() for _ in range(3)]
    with refusing(deployment, consumers):
        published = deployment.publish(*(new(consumer, market) for consumer in consumers))
        assert deployment.market_counts(worker, market, 3) == {"failed": 3}
    assert worker.terminate() == 0
    made = run("dlq", "redrive", "--all", "--yes", "--json")
    assert "No worker is running" in made.stderr
    task = document(made)["taskId"]
    run("dlq", "pause", task, "--note", "wait for the release")
    assert "wait for the release" in run("dlq", "tasks").stdout
    run("dlq", "resume", task)
    run("dlq", "cancel", task)
    assert document(run("dlq", "tasks", "--json"))["items"][0]["state"] == "cancelled"
    one = document(run("dlq", "redrive", published[0].id, "--yes", "--json"))["taskId"]
    successor = deployment.worker().ready()
    until_counted(deployment, successor, market, synced=1, failed=2)
    assert document(run("dlq", "tasks", one, "--json"))["items"][0]["outcomes"] == {"synced": 1}
    # An export that is published again is a redrive of these events: none is counted twice.
    lines = run("dlq", "export", "--all", "--show-values").stdout
    assert len(lines.splitlines()) == 2
    said = run("publish", given=lines).stdout
    assert said.splitlines() == [
        "published 2, rejected 0",
        "2 of them are exported dead letters: workers redrive those that are still open.",
    ]
    until_counted(deployment, successor, market, synced=3)
    last = document(run("dlq", "show", published[1].id, "--json"))["history"][-1]
    assert last["by"].endswith(f"@{socket.gethostname()}")
    assert last["note"].startswith("with publish, at ")
    assert deployment.settled(successor, 3)["events"] == 3
    assert held(deployment, consumers) == set(consumers)


def test_an_event_that_is_no_json_is_edited_and_redriven(
    shared: Deployment, worker: WorkerProcess, run: Run, tmp_path: Path
) -> None:
    market, consumer = fresh_market(), fresh_consumer()
    [broken] = shared.publish_raw([(consumer.encode(), b'{"eventId": ', None)])
    wait_for(
        lambda: run("dlq", "show", broken.id, "--json", code=None).returncode == 0,
        lambda: f"no dead letter\n{worker.log_tail(15)}",
        SECONDS,
    )
    file = tmp_path / "event.json"
    file.write_text(json.dumps(new(fresh_consumer(), market)))
    refused = run("dlq", "edit", broken.id, "--file", str(file), "--yes", code=1).stderr
    assert "EVENT-KEY-MISMATCH" in refused
    assert ".. " not in refused
    # Nothing was shown, so nothing is recorded.
    missing = run("dlq", "edit", broken.id, "--file", str(tmp_path / "none.json"), "--yes", code=2).stderr
    assert "values were shown" not in refused + missing
    file.write_text(json.dumps(new(consumer, market)))
    said = run("dlq", "edit", broken.id, "--file", str(file), "--note", "cut off by the producer", "--yes").stdout
    assert '-{"eventId": \n' in said
    assert f"profile-sync dlq redrive {broken.id}" in said
    shown = document(run("dlq", "show", broken.id, "--show-values", "--json"))
    assert (shown["originalValue"], shown["edit"]["note"]) == ('{"eventId": ', "cut off by the producer")
    assert json.loads(shown["value"])["consumerId"] == consumer
    run("dlq", "redrive", broken.id, "--yes", "--wait")
    assert held(shared, [consumer]) == {consumer}
    assert "already settled: synced" in run("dlq", "edit", broken.id, "--file", str(file), "--yes", code=1).stderr


def test_the_commands_of_the_page_about_dead_letters(deploy: Deploy, tmp_path: Path) -> None:
    deployment = deploy()
    worker = deployment.worker().ready()
    market, one, other = fresh_market(), fresh_consumer(), fresh_consumer()
    with refusing(deployment, [one]):
        [failed] = deployment.publish(update(one, market))
        [broken, unwanted] = deployment.publish_raw([(other.encode(), b"{", None), (other.encode(), b"[", None)])
        deployment.settled(worker, 3)
    run = runner(deployment, tmp_path / "commands")
    (tmp_path / "event.json").write_text(json.dumps(new(other, market)))
    (shown, again, poison, discarded, exported) = blocks_of("Redrive dead letters", page="docs/dead-letters.md")
    names = {"5-26": failed.id, "5-31": broken.id, "5-40": unwanted.id, "event.json": str(tmp_path / "event.json")}
    said = {}
    for line in "".join((shown, exported, again, poison, discarded)).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "profile-sync"
        said[line] = run(*(names.get(argument, argument) for argument in arguments)).stdout
    assert "CMT-ROW-INVALID:consumer:UPDATE\n" in said["profile-sync dlq stats"]
    assert "1 dead letter: 1 send" in said[again.splitlines()[0]]
    assert deployment.settled(worker, 3) | {"synced": 2, "discarded": 1} == deployment.settled(worker, 3)
    assert run("dlq", "list").stdout == "No dead letter is open.\n"
