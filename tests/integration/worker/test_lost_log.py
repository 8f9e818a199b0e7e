"""The main topic's log loses its records under the same topic ID: offsets that were settled belong to new events."""

from __future__ import annotations

import signal
from pathlib import Path

from app.broker.local_broker import LocalBroker
from app.flows.identity import FLOW, identity_problems
from app.profile.entities import Catalog
from tests.brokers import own_broker
from tests.integration.worker.deployment import deployed
from tests.integration.worker.simulator_probe import SimulatorProbe
from tests.integration.worker.test_identity import adopt, events, said

FIRST, SECOND = 24, 80
CHECKPOINTS = ("recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint")


def lose_log(folder: Path, topic: str) -> None:
    """Remove the records of a topic from the folder of a broker that is stopped; the topic stays."""
    [logs] = {path.parent for path in folder.rglob(f"{topic}-0")}
    for partition in logs.glob(f"{topic}-[0-9]*"):
        for path in partition.iterdir():
            if path.name != "partition.metadata":
                path.unlink()
    for name in CHECKPOINTS:
        version, _, *entries = (logs / name).read_text().splitlines()
        kept = [line for line in entries if line.split(" ")[0] != topic]
        (logs / name).write_text("\n".join([version, str(len(kept)), *kept]) + "\n")
    (logs / ".kafka_cleanshutdown").unlink(missing_ok=True)


def test_new_events_at_settled_offsets_are_not_skipped(
    simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path
) -> None:
    data = tmp_path / "kafka"
    with (
        own_broker(LocalBroker(data=data)) as broker,
        deployed(broker.bootstrap_servers, simulator, catalog, tmp_path) as deployment,
    ):
        topic = deployment.kafka.topic
        worker = deployment.worker().ready()
        deployment.publish(*events(FIRST))
        totals = deployment.settled(worker, FIRST)
        worker.terminate()
        assert identity_problems(deployment.kafka, FLOW) == []
        settled = deployment.ends(topic)
        broker.stop()
        lose_log(data, topic)
        broker.start()
        deployment.forget_producers()
        deployment.publish(*events(SECOND))
        ends = deployment.ends(topic)
        assert all(ends[number] > end for number, end in settled.items()), "every settled offset is there again"

        refused = said(deployment.worker())
        assert f"of {topic} holds another record at offset" in refused
        assert "KAFKA_GROUP" in refused
        problems = identity_problems(deployment.kafka, FLOW)
        assert {problem.found for problem in problems} == {
            f"another record at {number}-{end - 1}" for number, end in settled.items() if end
        }
        assert refused in {problem.remedy for problem in problems}

        # Whoever knows better may bind the state to it; work then goes on above what is settled.
        adopted = adopt(deployment, "--yes")
        assert adopted.returncode == 0, adopted.stderr
        assert "another record was settled at offset" in adopted.stdout
        assert identity_problems(deployment.kafka, FLOW) == []
        second = deployment.worker().ready()
        assert deployment.settled(second, totals["events"] + SECOND - FIRST)["synced"] == SECOND


def test_who_takes_over_after_new_events_were_settled_notices_it_too(
    simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path
) -> None:
    """The worker does not see the loss: when it fetches again, the log is longer than before. It goes on with new
    events, and what it settles of them must not hide that those before are others."""
    data = tmp_path / "kafka"
    with (
        own_broker(LocalBroker(data=data)) as broker,
        deployed(
            broker.bootstrap_servers,
            simulator,
            catalog,
            tmp_path,
            KAFKA_PARTITIONS="1",
            KAFKA_SESSION_TIMEOUT_SECONDS="45",
        ) as deployment,
    ):
        worker = deployment.worker().ready()
        deployment.publish(*events(FIRST))
        deployment.settled(worker, FIRST)
        worker.signal(signal.SIGSTOP)
        broker.stop()
        lose_log(data, deployment.kafka.topic)
        broker.start()
        deployment.forget_producers()
        behind = deployment.publish(*events(SECOND))[FIRST:]
        worker.signal(signal.SIGCONT)

        place = f"Partition 0 of {deployment.kafka.topic} holds another record at offset "
        assert place in said(worker)
        written = {key[0] for rows in simulator.rows(catalog).values() for key in rows}
        assert written & {(one.key or b"").decode() for one in behind}, "it had gone on with new events"
        assert place in said(deployment.worker())
        [problem] = identity_problems(deployment.kafka, FLOW)
        assert place in problem.remedy

        adopted = adopt(deployment, "--yes")
        assert adopted.returncode == 0, adopted.stderr
        assert identity_problems(deployment.kafka, FLOW) == []
