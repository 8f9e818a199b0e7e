"""The partition record decides where work goes on, whatever happened to the group's offsets and to old records."""

from __future__ import annotations

import signal

from app.flows.identity import identity_problems
from tests.integration.worker.test_identity import events, said
from tests.support.deployment import Deploy, Deployment
from tests.support.profiles import Event, fresh_consumer, new, update
from tests.support.topic_changes import TopicChanges
from tests.support.worker_process import WorkerProcess, wait_for


def entries(worker: WorkerProcess, event: str) -> list[dict[str, object]]:
    return [entry for entry in worker.log_entries() if entry["event"] == event]


def test_expired_and_reset_offsets_neither_skip_nor_repeat_anything(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_START="latest", SYNC_BACKOFF_BASE_SECONDS="3600", SYNC_BACKOFF_MAX_SECONDS="3600")
    topic, changes = deployment.pipeline.topic, TopicChanges(deployment)
    deployment.publish(*events(4))  # before the group's start
    parked = fresh_consumer("parked")
    fault = deployment.simulator.add_fault("http_503", consumerId=parked)
    worker = deployment.worker().ready()
    deployment.publish(*events(10), new(parked))
    wait_for(lambda: worker.totals()["events"] == 10 and worker.totals()["parked"] == 1, worker.log_tail, 40)
    worker.terminate()
    deployment.simulator.request("DELETE", f"/_sim/faults/{fault}")

    # Expired: KAFKA_START would skip these.
    deployment.publish(*events(20))
    changes.forget_offsets()
    worker = deployment.worker().ready()
    wait_for(lambda: worker.totals()["events"] == 30, worker.log_tail, 40)
    worker.terminate()
    skipped = entries(worker, "the group's offset would skip events; going on where the state says")
    assert sum(int(str(entry["events"])) for entry in skipped) == 20

    # The offsets are reset to the end, also in the retry topic. The parked event is still found.
    deployment.publish(*events(5))
    for name in (topic, deployment.pipeline.retry_topic):
        changes.place(name, deployment.ends(name))
    worker = deployment.worker(SYNC_BACKOFF_BASE_SECONDS="0.05").ready()
    wait_for(lambda: worker.totals()["events"] == 35, worker.log_tail, 40)
    assert worker.totals()["parked"] == 1
    worker.terminate()

    # The offsets are reset to the beginning. Nothing is processed again, and the log says what counts as settled.
    calls = writes(deployment)
    changes.place(topic, dict.fromkeys(range(deployment.kafka.partitions), 0))
    worker = deployment.worker().ready()
    deployment.publish(*events(1))
    wait_for(lambda: worker.totals()["events"] == 36, worker.log_tail, 40)
    settled = entries(worker, "settled already, not done again")
    last = {int(str(entry["partition"])): int(str(entry["last"])) for entry in settled}
    assert sum(offset + 1 for offset in last.values()) == 4 + 10 + 1 + 20 + 5
    assert writes(deployment) == calls + 1, "something was done again"


def writes(deployment: Deployment) -> int:
    """The calls of all events so far. A starting worker makes a few Retrieves of its own."""
    return sum(call.operation == "Update" for call in deployment.simulator.calls())


def test_a_parked_event_is_found_again_whatever_became_of_the_retry_topic(deploy: Deploy) -> None:
    deployment = deploy(SYNC_BACKOFF_BASE_SECONDS="2", SYNC_BACKOFF_MAX_SECONDS="2", SYNC_MAX_ATTEMPTS="9")
    parked = fresh_consumer("parked")
    deployment.simulator.add_fault("http_503", consumerId=parked, times=6)  # two attempts
    worker = deployment.worker().ready()
    deployment.publish(*events(3), new(parked), update(parked, name="Eve"))
    wait_for(lambda: worker.totals()["events"] == 3 and worker.totals()["parked"] == 2, worker.log_tail, 40)
    worker.kill9()
    TopicChanges(deployment).recreate(deployment.pipeline.retry_topic)
    worker = deployment.worker().ready()
    assert deployment.settled(worker, 5)["synced"] == 5
    assert entries(worker, "the retry topic was recreated: parked events are read from the main topic again")


def test_events_that_retention_deleted_unread_are_told_counted_and_become_an_incident(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_SESSION_TIMEOUT_SECONDS="30")
    topic, changes = deployment.pipeline.topic, TopicChanges(deployment)
    worker = deployment.worker().ready()
    sent = [(b"c%d" % n, b"{}", None) for n in range(12)]
    deployment.publish_raw(sent[:2], partition=1)
    deployment.settled(worker, 2)
    worker.terminate()
    deployment.publish_raw(sent[2:8], partition=1)  # offsets 2 to 7
    changes.delete_records(topic, {1: 6})
    worker = deployment.worker().ready()
    deployment.settled(worker, 4)
    assert told(worker) == [(topic, 1, 4)]
    assert worker.metric("profile_sync_events_cut_off_total", partition="1") == 4

    # The running worker is suspended, so it does not read. A fetch in progress is answered with the first event.
    worker.signal(signal.SIGSTOP)
    deployment.publish_raw(sent[:1], partition=1)  # offset 8
    deployment.publish_raw(sent[1:5], partition=1)  # offsets 9 to 12
    changes.delete_records(topic, {1: 11})
    worker.signal(signal.SIGCONT)

    def all_known() -> bool:
        gone = worker.metric("profile_sync_events_cut_off_total", partition="1")
        return gone > 4 and worker.totals()["events"] + gone == 13

    wait_for(all_known, worker.log_tail, 40)
    assert len(told(worker)) == 2
    wait_for(lambda: incidents(deployment), worker.log_tail, 30)


def told(worker: WorkerProcess) -> list[tuple[object, object, object]]:
    found = entries(worker, "events were deleted by Kafka's retention before they were read")
    return [(entry["topic"], entry["partition"], entry["events"]) for entry in found]


def incidents(deployment: Deployment) -> list[dict[str, object]]:
    wanted = f"{deployment.pipeline.group}:SYNC-CUT-OFF"
    return [one for one in deployment.simulator.incidents() if one["correlation_id"].startswith(wanted)]


def test_a_state_that_is_gone_is_refused_until_the_group_is_told_where_to_begin(deploy: Deploy) -> None:
    deployment = deploy()
    changes = TopicChanges(deployment)
    worker = deployment.worker().ready()
    first: list[Event] = events(6)
    deployment.publish(*first)
    deployment.settled(worker, 6)
    worker.terminate()
    changes.delete(deployment.pipeline.state_topic)

    refused = said(deployment.worker())
    assert refused.startswith(f"{deployment.pipeline.state_topic}: state is empty for partitions")
    assert f"--delete-offsets --group {deployment.pipeline.group} --topic {deployment.pipeline.topic}" in refused
    assert [problem.setting for problem in identity_problems(deployment.kafka, deployment.pipeline)] == ["state"]

    changes.forget_offsets()
    worker = deployment.worker().ready()
    assert deployment.settled(worker, 6)["superseded"] + worker.totals()["synced"] == 6


def test_lost_records_of_consumers_are_refused(deploy: Deploy) -> None:
    deployment = deploy()
    worker = deployment.worker().ready()
    deployment.publish(*events(6))
    deployment.settled(worker, 6)
    worker.terminate()
    TopicChanges(deployment).recreate(deployment.pipeline.consumers_topic)
    assert "the consumer records" in said(deployment.worker())
