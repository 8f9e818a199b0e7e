"""No personal data in logs, metrics and tickets: the values of realistic profiles are searched for in all output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.profile.samples.samples import sample_events, to_json
from tests.support.deployment import Deploy
from tests.support.worker_process import wait_for

# Columns whose values tell something about a person. The others hold words of a list: types, codes, states, countries.
PERSONAL = {"EmailAddress", "FirstName", "LastName", "BirthDate", "DueDate", "Value", "Name", "ConsumerId"}
EVENTS = 160


def personal_values(events: Iterable[Mapping[str, Any]]) -> set[str]:
    """Every value of a personal column, and the consumer IDs."""
    found: set[str] = set()
    for event in events:
        found.add(event["consumerId"])
        for row in (event.get("consumer", {}), *(row for rows in event.get("entities", {}).values() for row in rows)):
            found |= {str(value) for column, value in row.items() if column in PERSONAL and value}
    return found


def told(values: Iterable[str], text: str) -> list[str]:
    """The values that occur in a text as whole words."""
    wanted = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True))
    return sorted(set(re.findall(rf"(?<!\w)(?:{wanted})(?!\w)", text)))


def test_no_value_of_a_profile_stands_in_logs_metrics_alerts_or_incidents(deploy: Deploy) -> None:
    deployment = deploy(LOG_LEVEL="DEBUG", LOG_HASH_KEY="a-key-for-the-hashes-of-this-test")
    simulator = deployment.simulator
    worker = deployment.worker().ready()
    events = [to_json(event) for event in sample_events(EVENTS, seed=17)]
    consumers = sorted({event["consumerId"] for event in events})
    # Messages that quote values, on every data extension and operation; and everything else that can go wrong.
    for number, consumer in enumerate(consumers):
        if number % 2 == 0:
            simulator.add_fault("row_error", consumerId=consumer, probability=0.2)
        if number % 3 == 0:
            for kind in ("server_fault", "reset", "html_500", "malformed_xml", "row_error_transient"):
                simulator.add_fault(kind, consumerId=consumer, times=1, probability=0.3)
    changes: list[dict[str, Any]] = [
        {"market": 1},
        {"consumerId": "x"},
        {"entities": {"pet": [{"Name": "Rex"}]}},
        {"extra": "Rex"},
    ]
    poison = [
        (str(event["consumerId"]).encode(), json.dumps({**event, **change}).encode(), None)
        for event, change in zip(events, changes, strict=False)
    ]
    poison.append((b"k", json.dumps(events[0]).encode()[:-20], None))
    deployment.publish(*events)
    deployment.publish_raw(poison)
    totals = deployment.settled(worker, EVENTS + len(poison))
    assert min(totals["failed"], totals["partial"], totals["synced"], totals["invalid"]) > 0, totals
    alerts = deployment.probe.read_all(deployment.pipeline.alerts_topic)
    # A failed event whose consumer was deleted later counts as superseded.
    assert len(alerts) == totals["failed"] + totals["superseded"]
    wait_for(deployment.alerts_handled, lambda: f"{len(alerts)} alerts handled: {worker.log_tail()}", 20)
    answers = [worker.text("/metrics"), str(worker.status("/readyz")), str(worker.status("/api/nothing"))]
    assert worker.terminate() == 0

    values = personal_values(events)
    assert len(values) > EVENTS
    letters = deployment.dead_letters()
    assert told(values, "\n".join((letter.value or b"").decode(errors="replace") for letter in letters)), (
        "a blind search"
    )
    said = {
        "log": worker.log_text(),
        "metrics and other open answers": "\n".join(answers),
        # Read as JSON, so that escaped letters are letters again.
        "alerts": "\n".join(f"{alert.key!r} {json.loads(alert.value or b'null')}" for alert in alerts),
        "incidents": json.dumps(simulator.incidents(), ensure_ascii=False),
        "messages": "\n".join(
            (record.header("x-sync-message") or b"").decode() for record in (*letters, *deployment.retry_copies())
        ),
    }
    assert {place: found for place, text in said.items() if (found := told(values, text))} == {}
    assert "***" in said["log"], "nothing was masked, so nothing was proven"
    assert "simulator-secret" not in said["log"]
