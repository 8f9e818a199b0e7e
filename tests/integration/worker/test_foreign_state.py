"""Foreign records in a group's topics stop no worker; a damaged record of the program is refused, with a remedy."""

from __future__ import annotations

import json
import subprocess
import sys

from app.delivery.record_format import parse_partition_key
from tests.integration.worker.test_identity import events, said
from tests.support.deployment import Deploy, Deployment
from tests.support.kafka_probe import KafkaProbe
from tests.support.worker_process import plain_environment

EVENTS = 12


def status(deployment: Deployment) -> dict[str, object]:
    """``profile-sync status --json``, which must work whatever the topics hold."""
    asked = subprocess.run(
        [sys.executable, "-m", "app", "status", "--json"],
        env=plain_environment() | dict(deployment.settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in asked.stderr, asked.stderr
    document: dict[str, object] = json.loads(asked.stdout)
    return document


def test_foreign_records_in_the_topics_of_a_group_stop_and_hide_no_worker(deploy: Deploy) -> None:
    deployment = deploy()
    pipeline, probe = deployment.pipeline, KafkaProbe(deployment.kafka.bootstrap_servers)
    worker = deployment.worker().ready()
    deployment.publish(*events(EVENTS))
    deployment.settled(worker, EVENTS)
    worker.terminate()
    newest = max(
        (r for r in probe.read_all(pipeline.state_topic) if r.partition == 0 and r.value), key=lambda r: r.offset
    )
    _, epoch = parse_partition_key(newest.key or b"")
    assert newest.value is not None
    for topic in (pipeline.state_topic, pipeline.consumers_topic):
        junk = [(b"hello", b"world"), (b"0|9223372036854775807", newest.value), (b"0|+7|C-1", b"{}")]
        probe.produce(topic, junk, partition=0)
        probe.produce(topic, [(b"0|50", newest.value), (b"0|50|C-1", b'{"v":1}')], partition=1)
    gone = [(f"worker|gone-{number}", b"{}") for number in range(10_500)]
    probe.produce(pipeline.status_topic, [*gone, *[(f"worker|large-{number}", b"x" * 500_000) for number in range(30)]])

    worker = deployment.worker().ready()
    deployment.publish(*events(EVENTS))
    assert deployment.settled(worker, 2 * EVENTS)["synced"] == 2 * EVENTS
    told = [line for line in worker.log_entries() if "no key of ours" in line["event"]]
    assert {(line["topic"], line["partition"]) for line in told} == {
        (pipeline.state_topic, 0),
        (pipeline.state_topic, 1),
    }
    assert all(isinstance(line["offset"], int) for line in told)
    seen = status(deployment)
    assert seen["level"] == "good", seen
    worker.terminate()

    spoilt = json.loads(newest.value) | {"done": ["x"], "deadLetters": {"x": "y"}}
    key = f"0|{epoch + 50}"
    probe.produce(pipeline.state_topic, [(key, json.dumps(spoilt))], partition=0)
    refused = said(deployment.worker())
    assert f"partition 0 in {pipeline.state_topic} (key {key}, offset " in refused
    assert "KAFKA_GROUP" in refused
    assert "report" not in refused
    status(deployment)

    probe.produce(pipeline.state_topic, [(key, None)], partition=0)
    worker = deployment.worker().ready()
    deployment.publish(*events(EVENTS))
    assert deployment.settled(worker, 3 * EVENTS)["synced"] == 3 * EVENTS
    probe.close()
