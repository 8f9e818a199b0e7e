"""The state is bound to one topic. Another topic, or one that was created again, is refused, and nothing is skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from app.flows.identity import identity_problems
from tests.support.deployment import PARTITIONS, Deploy, Deployment, Published
from tests.support.profiles import Event, fresh_consumer, new
from tests.support.topic_changes import TopicChanges
from tests.support.worker_process import WorkerProcess, plain_environment, wait_for

FIRST, SECOND = 24, 40


def events(number: int) -> list[Event]:
    return [new(fresh_consumer()) for _ in range(number)]


def said(worker: WorkerProcess) -> str:
    """The one line in which a worker says why it ended by itself."""
    assert worker.ended(90) in (1, 2), worker.log_tail()
    return worker.last_words()


def adopt(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", "topics", "adopt", *arguments],
        env=plain_environment() | dict(deployment.settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def publish_again(deployment: Deployment, published: Sequence[Published]) -> None:
    """The same records at the same offsets."""
    for number in range(deployment.kafka.partitions):
        records = [(one.key, one.value, None) for one in published if one.partition == number]
        deployment.publish_raw(records, partition=number)


def test_a_recreated_topic_is_refused_and_a_new_group_processes_all_of_it(deploy: Deploy) -> None:
    deployment = deploy()
    worker = deployment.worker().ready()
    deployment.publish(*events(FIRST))
    deployment.settled(worker, FIRST)
    assert identity_problems(deployment.kafka, deployment.pipeline) == []
    worker.terminate()
    TopicChanges(deployment).recreate(deployment.pipeline.topic)
    assert "ends before the settled offset" in adopt(deployment, "--yes").stderr
    deployment.publish(*events(SECOND))

    refused = said(deployment.worker())
    assert f"Topic {deployment.pipeline.topic} is not the one" in refused
    assert "KAFKA_GROUP" in refused
    assert "topics adopt" in refused
    [problem] = identity_problems(deployment.kafka, deployment.pipeline)
    assert (problem.topic, problem.remedy) == (deployment.pipeline.topic, refused)

    other = deployment.worker(KAFKA_GROUP=f"{deployment.pipeline.group}-2").ready()
    assert deployment.settled(other, SECOND)["synced"] == SECOND
    assert "does not exist" not in other.log_text(), "it makes the topics of a new group itself"


def test_a_topic_that_is_recreated_while_a_worker_runs_ends_the_worker(deploy: Deploy) -> None:
    deployment = deploy()
    worker = deployment.worker().ready()
    deployment.publish(*events(FIRST))
    deployment.settled(worker, FIRST)
    TopicChanges(deployment).recreate(deployment.pipeline.topic)
    deployment.publish(*events(SECOND))
    assert "KAFKA_GROUP" in said(worker)


def test_partitions_that_are_added_while_a_worker_runs_end_it(deploy: Deploy) -> None:
    deployment = deploy()
    worker = deployment.worker().ready()
    deployment.publish(*events(FIRST))
    deployment.settled(worker, FIRST)
    TopicChanges(deployment).add_partitions(deployment.pipeline.topic, PARTITIONS + 2)
    refused = said(worker)
    assert f"{deployment.pipeline.topic}: partitions is {PARTITIONS + 2}, must be {PARTITIONS}." in refused
    assert refused == said(deployment.worker()), "a worker that starts says the same"


def test_a_recreated_topic_is_not_processed_although_it_is_longer_than_the_old_one(
    deploy: Deploy,
) -> None:
    """The offsets to be read next exist again, in another topic."""
    deployment = deploy()
    worker = deployment.worker().ready()
    deployment.publish(*events(FIRST))
    deployment.settled(worker, FIRST)
    TopicChanges(deployment).recreate(deployment.pipeline.topic)
    published = events(10 * SECOND)
    deployment.publish(*published)
    assert "KAFKA_GROUP" in said(worker)
    others = {str(event["consumerId"]) for event in published}
    done = [call for call in deployment.simulator.calls() if call.consumer_id in others]
    assert not done, f"{len(done)} calls of {len({call.consumer_id for call in done})} events"


def test_restored_topics_are_adopted_and_the_work_goes_on(deploy: Deploy) -> None:
    deployment = deploy()
    worker = deployment.worker().ready()
    published = deployment.publish(*events(FIRST))
    totals = deployment.settled(worker, FIRST)
    running = adopt(deployment, "--yes")
    assert running.returncode == 1
    assert "has members" in running.stderr
    worker.terminate()
    TopicChanges(deployment).recreate(deployment.pipeline.topic)
    publish_again(deployment, published)

    looked = adopt(deployment, "--json")
    assert looked.returncode == 1, "nobody answered the question"
    document = json.loads(looked.stdout)
    ends = deployment.ends(deployment.pipeline.topic)
    assert {view["partition"]: view["end"] for view in document["partitions"]} == ends
    assert {view["partition"]: view["upto"] + 1 for view in document["partitions"]} == ends
    adopted = adopt(deployment, "--yes")
    assert adopted.returncode == 0, adopted.stderr
    assert identity_problems(deployment.kafka, deployment.pipeline) == []
    assert "nothing to do" in adopt(deployment).stdout

    second = deployment.worker().ready()
    assert second.totals() == totals
    deployment.publish(*events(3))
    assert deployment.settled(second, FIRST + 3)["synced"] == FIRST + 3


def test_another_topic_under_the_same_group_is_refused_and_the_first_worker_goes_on(deploy: Deploy) -> None:
    deployment, other = deploy(), deploy()
    worker = deployment.worker().ready()
    deployment.publish(*events(FIRST))
    deployment.settled(worker, FIRST)
    line = said(deployment.worker(KAFKA_TOPIC=other.pipeline.topic))
    assert deployment.pipeline.topic in line
    assert other.pipeline.topic in line
    deployment.publish(*events(3))
    deployment.settled(worker, FIRST + 3)


def test_two_topics_under_one_new_group_at_the_same_time_are_noticed(deploy: Deploy) -> None:
    deployment, other = deploy(), deploy()
    workers = [deployment.worker(), deployment.worker(KAFKA_TOPIC=other.pipeline.topic)]
    deployment.publish(*events(SECOND))
    other.publish(*events(SECOND))
    # The refused worker says so; the events of the other topic are left to another group.
    wait_for(lambda: any(not worker.running for worker in workers), lambda: "one of them ends", 100)
    for worker in workers:
        if not worker.running:
            assert "use another KAFKA_GROUP" in said(worker)


def run(deployment: Deployment, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=plain_environment() | dict(deployment.settings) | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_topic_is_not_created_under_a_state_that_is_about_it_or_about_another(deploy: Deploy) -> None:
    deployment = deploy()
    changes, topic = TopicChanges(deployment), deployment.pipeline.topic
    worker = deployment.worker().ready()
    deployment.publish(*events(FIRST))
    deployment.settled(worker, FIRST)

    misspelt = f"{topic}-misspelt"
    wrong = deployment.worker(KAFKA_TOPIC=misspelt)
    refused = said(wrong)
    assert wrong.exit_code == 2, "this is configuration"
    assert f"Set KAFKA_TOPIC={topic}" in refused
    for command in ("create", "check"):
        done = run(deployment, "topics", command, KAFKA_TOPIC=misspelt)
        assert done.returncode == 1
        assert f"Set KAFKA_TOPIC={topic}" in done.stdout
        assert "topics create" not in done.stdout
    assert misspelt not in changes.names(), "a topic that nobody wants was made"

    changes.delete(topic)
    shown = json.loads(run(deployment, "status", "--json").stdout)
    assert shown["headline"] == "the topic is gone"
    assert shown["today"]["synced"] == FIRST, "the rest is shown too"
    text = " ".join(run(deployment, "status").stdout.split())
    assert "Do not create it again" in text
    assert "topics adopt" in text
    assert "lag not known: there is no such topic" in text
    for command in ("create", "check"):
        done = run(deployment, "topics", command)
        assert done.returncode == 1
        assert "Do not create it again" in done.stdout
        assert "topics create" not in done.stdout
    assert "Do not create it again" in said(deployment.worker())
    assert topic not in changes.names()
    assert worker.running, "it waits for its topic"
