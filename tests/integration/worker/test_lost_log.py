"""Topics lose their logs under the same topic ID: offsets that were settled or committed belong to new records."""

from __future__ import annotations

import signal
from pathlib import Path

from app.broker.local_broker import LocalBroker
from app.flows.identity import identity_problems
from app.profile.entities import Catalog
from tests.integration.worker.test_identity import adopt, events, said
from tests.support.brokers import own_broker
from tests.support.deployment import Deployment, deployed
from tests.support.profiles import delete_profile, fresh_consumer, new, update
from tests.support.simulator_probe import SimulatorProbe
from tests.support.worker_process import WorkerProcess, wait_for

FIRST, SECOND = 24, 80
CHECKPOINTS = ("recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint")


def lose_log(folder: Path, topic: str) -> None:
    """Delete the records of a topic from the folder of a stopped broker; the topic stays."""
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
        topic = deployment.pipeline.topic
        worker = deployment.worker().ready()
        deployment.publish(*events(FIRST))
        totals = deployment.settled(worker, FIRST)
        worker.terminate()
        assert identity_problems(deployment.kafka, deployment.pipeline) == []
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
        problems = identity_problems(deployment.kafka, deployment.pipeline)
        assert {problem.found for problem in problems} == {
            f"another record at {number}-{end - 1}" for number, end in settled.items() if end
        }
        assert refused in {problem.remedy for problem in problems}

        # An operator may bind the state to it; work then goes on above the settled offsets.
        adopted = adopt(deployment, "--yes")
        assert adopted.returncode == 0, adopted.stderr
        assert "another record was settled at offset" in adopted.stdout
        assert identity_problems(deployment.kafka, deployment.pipeline) == []
        second = deployment.worker().ready()
        assert deployment.settled(second, totals["events"] + SECOND - FIRST)["synced"] == SECOND


def test_an_owner_that_takes_over_after_new_events_were_settled_notices_it_too(
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
        lose_log(data, deployment.pipeline.topic)
        broker.start()
        deployment.forget_producers()
        behind = deployment.publish(*events(SECOND))[FIRST:]
        worker.signal(signal.SIGCONT)

        place = f"Partition 0 of {deployment.pipeline.topic} holds another record at offset "
        assert place in said(worker)
        written = {key[0] for rows in simulator.rows(catalog).values() for key in rows}
        assert written & {(one.key or b"").decode() for one in behind}, "it had gone on with new events"
        assert place in said(deployment.worker())
        [problem] = identity_problems(deployment.kafka, deployment.pipeline)
        assert place in problem.remedy

        adopted = adopt(deployment, "--yes")
        assert adopted.returncode == 0, adopted.stderr
        assert identity_problems(deployment.kafka, deployment.pipeline) == []


def alerts_handled(deployment: Deployment, worker: WorkerProcess) -> None:
    """Return when the group has committed exactly the records in the alerts topic."""
    topic, group = deployment.pipeline.alerts_topic, deployment.pipeline.group

    def offsets() -> tuple[object, object]:
        return deployment.ends(topic), deployment.probe.committed(group, topic)

    wait_for(deployment.alerts_handled, lambda: f"{offsets()}\n{worker.log_tail(15)}", 40.0)


def test_retry_and_alerts_topic_begin_again_when_their_logs_are_lost(
    simulator: SimulatorProbe, catalog: Catalog, tmp_path: Path
) -> None:
    """While a worker runs, and while none runs. No work waits until the new log is as long as the old one."""
    data = tmp_path / "kafka"
    settings = {"KAFKA_PARTITIONS": "1", "KAFKA_SESSION_TIMEOUT_SECONDS": "45", "SYNC_MAX_ATTEMPTS": "6"}
    failing, parked = ([fresh_consumer() for _ in range(5)] for _ in range(2))
    with (
        own_broker(LocalBroker(data=data)) as broker,
        deployed(broker.bootstrap_servers, simulator, catalog, tmp_path, **settings) as deployment,
    ):
        retry, alerts = deployment.pipeline.retry_topic, deployment.pipeline.alerts_topic

        def lose_logs(*topics: str) -> None:
            broker.stop()
            for topic in topics:
                lose_log(data, topic)
            broker.start()
            deployment.forget_producers()

        for consumer in failing:
            simulator.add_fault("row_error", consumerId=consumer)
        for consumer in parked:
            simulator.add_fault("http_503", consumerId=consumer, times=4)
        worker = deployment.worker().ready()
        deployment.publish(*map(new, failing), *map(new, parked))
        deployment.settled(worker, 10)
        alerts_handled(deployment, worker)
        copies, told = deployment.ends(retry)[0], deployment.ends(alerts)[0]
        assert copies >= 5 == told

        lose_logs(retry, alerts)
        late = fresh_consumer()
        simulator.add_fault("http_503", consumerId=late, times=4)
        deployment.publish(new(late), update(late, name="Zed"), *map(delete_profile, failing[:3]))
        deployment.settled(worker, 15)
        alerts_handled(deployment, worker)
        assert deployment.ends(retry)[0] < copies
        assert deployment.ends(alerts)[0] == 3
        recent = worker.consumer(late)
        assert recent is not None
        assert [entry["outcome"] for entry in recent["recent"]] == ["synced", "synced"]

        worker.terminate()
        [one, *_] = deployment.probe.read_all(alerts)
        lose_logs(alerts)
        deployment.probe.produce(alerts, [(one.key, one.value)])
        worker.start().ready()
        alerts_handled(deployment, worker)
        assert deployment.probe.committed(deployment.pipeline.group, alerts) == {0: 1}

        said_so = [entry for entry in worker.log_entries() if "topic lost records" in entry["event"]]
        assert {entry["topic"] for entry in said_so} == {retry, alerts}
        assert [entry for entry in worker.log_entries() if "stalls" in entry["event"]] == []
