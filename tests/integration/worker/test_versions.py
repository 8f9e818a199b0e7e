"""Two versions side by side: the runbook's section about an upgrade and a rollback is true."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.worker.test_identity import events
from tests.support.deployment import Deploy
from tests.support.kafka_probe import KafkaProbe

EVENTS = 16
# An older version of this program: it writes and reads partition records of format 1 only.
OLDER = """
import app.delivery.record_format as record_format
record_format.PARTITION_FORMAT = 1
record_format._READ = {"partition": (1,)}
"""


def test_an_older_worker_goes_on_beside_a_newer_one_and_ends_when_it_gets_its_partitions(
    deploy: Deploy, tmp_path: Path
) -> None:
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "sitecustomize.py").write_text(OLDER)
    deployment = deploy()
    probe = KafkaProbe(deployment.kafka.bootstrap_servers)

    def formats() -> set[int]:
        newest = {r.key: r.value for r in probe.read_all(deployment.pipeline.state_topic) if r.value}
        return {json.loads(value)["v"] for key, value in newest.items() if key and b"|" in key}

    older = deployment.worker(PYTHONPATH=str(tmp_path / "older")).ready()
    deployment.publish(*events(EVENTS))
    deployment.settled(older, EVENTS)
    assert formats() == {1}

    # A rolling upgrade: the newer worker reads the older format, and the older worker goes on with its partitions.
    newer = deployment.worker().ready()
    deployment.publish(*events(EVENTS))
    deployment.settled(newer, 2 * EVENTS)
    assert 2 in formats()
    assert older.running

    # A rollback: the older worker gets partitions of the newer format. It ends, and says why.
    assert newer.terminate() == 0
    assert older.ended() == 1
    assert "was it written by a newer program?" in older.log_text()

    # The new version goes on where it was: nothing is lost or counted twice.
    newer = deployment.worker().ready()
    deployment.publish(*events(EVENTS))
    assert deployment.settled(newer, 3 * EVENTS)["synced"] == 3 * EVENTS
    probe.close()
