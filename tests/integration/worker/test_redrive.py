"""Operators' tasks on a real broker: what they do to dead letters, their consumers and the counts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
from confluent_kafka import Producer

from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, OperatorTask, Selection, TaskKey, new_task_id
from app.delivery.outcome import Outcome
from app.readmodels import Followed, ReadModels, wait_until_caught_up
from app.readmodels.letters import ListedLetter
from app.readmodels.tasks import TaskState
from tests.support.deployment import Deploy, Deployment, Published
from tests.support.profiles import delete_profile, fresh_consumer, fresh_market, new, update
from tests.support.worker_process import WorkerProcess, wait_for


@pytest.fixture
def models(shared: Deployment) -> Iterator[ReadModels]:
    """Dead letters and tasks, as a command reads them."""
    read = ReadModels(shared.kafka, shared.pipeline, None, topics=(Followed.LETTERS, Followed.TASKS, Followed.STATE))
    read.start()
    try:
        wait_until_caught_up(read)
        yield read
    finally:
        read.stop()


def wish(deployment: Deployment, action: Action, *letters: Published, force: bool = False) -> str:
    """An operator makes a task for some dead letters."""
    now_ms = int(time.time() * 1000)
    ids = tuple(LetterId(one.partition, one.offset) for one in letters)
    matched = {letter.partition: 1 for letter in ids}
    task = OperatorTask(new_task_id(action, now_ms), action, Selection(ids), now_ms, "me", force=force, matched=matched)
    producer = Producer({"bootstrap.servers": deployment.kafka.bootstrap_servers, "enable.idempotence": True})
    producer.produce(deployment.pipeline.tasks_topic, task.encode(), TaskKey(task.id).encode(), partition=0)
    assert producer.flush(30) == 0
    return task.id


def until_done(models: ReadModels, task: str) -> dict[str, int]:
    """Wait until a task is done; returns its dead letters by outcome."""
    wait_for(lambda: models.tasks.state(task) is TaskState.DONE, lambda: f"{models.tasks.progress(task)}", 40)
    progress = models.tasks.progress(task)
    assert progress is not None
    return dict(progress.outcomes)


@contextmanager
def refusing(deployment: Deployment, consumers: Sequence[str]) -> Iterator[None]:
    """Marketing Cloud refuses the rows of these consumers."""
    with ExitStack() as stack:
        for consumer in consumers:
            stack.enter_context(deployment.simulator.fault("row_error", consumerId=consumer))
        yield


def test_a_redrive_mends_what_failed_and_moves_the_counts(
    shared: Deployment, worker: WorkerProcess, models: ReadModels
) -> None:
    market, consumers = fresh_market(), [fresh_consumer() for _ in range(4)]
    with refusing(shared, consumers[3:]):
        with refusing(shared, consumers[:3]):
            published = shared.publish(*(new(consumer, market) for consumer in consumers))
            assert shared.market_counts(worker, market, 4) == {"failed": 4}
        letter = LetterId(published[3].partition, published[3].offset)
        task = wish(shared, Action.REDRIVE, *published)
        assert until_done(models, task) == {"synced": 3, "failed": 1}
        until_counted(shared, worker, market, synced=3, failed=1)
        assert list(shared.failure_counts(worker, market).values()) == [1]
    assert until_done(models, wish(shared, Action.DISCARD, published[3])) == {"discarded": 1}
    until_counted(shared, worker, market, synced=3, discarded=1)
    assert shared.failure_counts(worker, market) == {}
    listed = models.letters.get(letter)
    assert listed is not None
    assert [(line.action, line.outcome) for line in listed.letter.history] == [
        ("failed", "failed"),
        ("redrive", "failed"),
        ("discard", "discarded"),
    ]
    assert held(shared, consumers) == set(consumers[:3])


def until_counted(deployment: Deployment, worker: WorkerProcess, market: str, **counts: int) -> None:
    """Wait until a market has these counts and no others."""
    total = sum(counts.values())

    def now() -> dict[str, int]:
        return deployment.market_counts(worker, market, total)

    wait_for(lambda: now() == counts, lambda: f"{now()}\n{worker.log_tail(15)}", 60)


def held(deployment: Deployment, consumers: Sequence[str]) -> set[str]:
    """Those of the consumers that Marketing Cloud holds."""
    rows = deployment.simulator.request("GET", "/_sim/rows/CMT_Consumer")["rows"]
    return {row["ConsumerId"] for row in rows} & set(consumers)


def test_an_older_state_is_skipped_and_a_deleted_profile_closes_its_dead_letters(
    shared: Deployment, worker: WorkerProcess, models: ReadModels
) -> None:
    market, one, other = fresh_market(), fresh_consumer(), fresh_consumer()
    with refusing(shared, (one, other)):
        [old, gone] = shared.publish(new(one, market, name="Old"), new(other, market))
        assert shared.market_counts(worker, market, 2) == {"failed": 2}
    shared.publish(update(one, market, name="New"), delete_profile(other, market))
    until_counted(shared, worker, market, synced=2, failed=1, superseded=1)
    task = wish(shared, Action.REDRIVE, old, gone)
    assert until_done(models, task) == {"superseded": 1}
    [row] = shared.simulator.request("GET", f"/_sim/rows/CMT_Consumer?ConsumerId={one}")["rows"]
    assert row["FirstName"] == "New"
    listed = models.letters.get(LetterId(gone.partition, gone.offset))
    assert listed is not None
    assert (listed.letter.settlement.outcome, listed.letter.settlement.reason) == (Outcome.SUPERSEDED, "SYNC-ERASED")


def test_records_of_other_tools_are_redrives_or_listed(
    shared: Deployment, worker: WorkerProcess, models: ReadModels
) -> None:
    market, one, other = fresh_market(), fresh_consumer(), fresh_consumer()
    with refusing(shared, (one,)):
        [published] = shared.publish(new(one, market))
        assert shared.market_counts(worker, market) == {"failed": 1}
    [letter] = shared.dead_letters(published)
    # Another tool puts the dead letter into the main topic, on whatever partition.
    elsewhere = (published.partition + 1) % shared.kafka.partitions
    shared.publish_raw([(letter.key, letter.value, letter.headers)], partition=elsewhere)
    until_counted(shared, worker, market, synced=1)
    assert held(shared, [one]) == {one}
    # Another tool puts a record of its own into the dead-letter topic.
    producer = Producer({"bootstrap.servers": shared.kafka.bootstrap_servers})
    said = [("__connect.errors.exception.class.name", b"org.example.Broken")]
    event = json.dumps(new(other, market)).encode()
    producer.produce(shared.pipeline.dlq_topic, event, other.encode(), partition=2, headers=said)
    assert producer.flush(30) == 0
    wait_for(lambda: foreign(models, other), lambda: worker.log_tail(20), 40)
    [listed] = foreign(models, other)
    assert (listed.id.foreign, listed.letter.fingerprint.entity) == (True, "kafka-connect")
    now_ms = int(time.time() * 1000)
    wanted = OperatorTask(
        new_task_id(Action.REDRIVE, now_ms), Action.REDRIVE, Selection((listed.id,)), now_ms, "me", matched={2: 1}
    )
    producer.produce(shared.pipeline.tasks_topic, wanted.encode(), TaskKey(wanted.id).encode(), partition=0)
    assert producer.flush(30) == 0
    assert until_done(models, wanted.id) == {"published": 1}
    until_counted(shared, worker, market, synced=2)
    assert held(shared, [other]) == {other}


def foreign(models: ReadModels, consumer: str) -> list[ListedLetter]:
    """The dead letters of a consumer."""
    return models.letters.of_consumer(consumer)


def test_a_worker_that_is_killed_in_a_redrive_loses_and_repeats_nothing(deploy: Deploy) -> None:
    deployment = deploy()
    worker = deployment.worker().ready()
    market, consumers = fresh_market(), [fresh_consumer() for _ in range(60)]
    with refusing(deployment, consumers):
        published = deployment.publish(*(new(consumer, market) for consumer in consumers))
        assert deployment.market_counts(worker, market, 60) == {"failed": 60}
    with deployment.simulator.fault("slow", delayMs=200):
        wish(deployment, Action.REDRIVE, *published)
        wait_for(
            lambda: deployment.market_counts(worker, market, 60).get("synced", 0) > 3,
            lambda: f"nothing redriven\n{worker.log_tail(20)}",
            40,
        )
        worker.kill9()
    successor = deployment.worker().ready()
    until_counted(deployment, successor, market, synced=60)
    assert held(deployment, consumers) == set(consumers)
