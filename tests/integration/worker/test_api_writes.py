"""A night over HTTP instead of the command line: look, try, edit, redrive, and what the audit says of it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.worker.test_dlq_commands import document, runner
from tests.integration.worker.test_redrive import held, refusing, until_counted
from tests.support.deployment import Deployment
from tests.support.profiles import fresh_consumer, fresh_market, new
from tests.support.worker_process import WorkerProcess, wait_for


def send(worker: WorkerProcess, method: str, path: str, content: Any) -> dict[str, Any]:
    """Send a JSON document; WEB_AUTH is off."""
    request = urllib.request.Request(
        worker.url + path,
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def test_a_night_over_http(shared: Deployment, worker: WorkerProcess, tmp_path: Path) -> None:
    market, consumers = fresh_market(), [fresh_consumer() for _ in range(3)]
    with refusing(shared, consumers):
        published = shared.publish(*(new(consumer, market) for consumer in consumers))
        assert shared.market_counts(worker, market, 3) == {"failed": 3}
    first, *_ = published
    chosen = {"filter": {"market": market}}
    would = send(worker, "POST", "/api/dead-letters/redrive", chosen | {"dryRun": True})
    assert (would["matched"], would["superseded"]) == (3, 0)
    assert {one["would"] for one in would["items"]} == {"send"}

    # The command line and the API edit and see the same dead letters.
    run = runner(shared, tmp_path)
    run("dlq", "show", first.id, "--show-values")
    run("dlq", "export", first.id, "--show-values")
    mended = new(consumers[0], market, name="Mended")
    send(worker, "PUT", f"/api/dead-letters/{first.id}/value?note=typo", mended)
    shown = worker.get(f"/api/dead-letters/{first.id}")
    assert json.loads(shown["value"]) == mended
    assert shown["originalValue"] == (published[0].value or b"").decode()
    assert document(run("dlq", "show", first.id, "--json"))["edit"]["note"] == "typo"

    task = send(worker, "POST", "/api/dead-letters/redrive", chosen | {"ratePerSecond": 100})["taskId"]
    until_counted(shared, worker, market, synced=3)
    wait_for(lambda: worker.get(f"/api/tasks/{task}")["state"] == "done", worker.log_tail, 60)
    assert worker.get(f"/api/tasks/{task}")["outcomes"] == {"synced": 3}
    assert held(shared, consumers) == set(consumers)
    [row] = shared.simulator.request("GET", f"/_sim/rows/CMT_Consumer?ConsumerId={consumers[0]}")["rows"]
    assert row["FirstName"] == "Mended"
    [redriven] = [one for one in worker.get(f"/api/dead-letters/{first.id}")["history"] if one["action"] == "redrive"]
    assert redriven["by"] == "web (WEB_AUTH=off)"

    def audited() -> list[str]:
        items = worker.get("/api/audit?limit=1000")["items"]
        return [one["action"] for one in items if one["task"] == task or first.id in one["ids"]]

    # Seen twice over the command line, edited, seen over HTTP, redriven, and seen once more above.
    expected = ["view", "redrive", "view", "edit", "view", "view"]
    wait_for(lambda: audited() == expected, lambda: f"{audited()}", 30)
