"""Workers start, stop, freeze and die while events flow: nothing is lost or counted twice, and order is kept."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.deployment import Deploy, Deployment
from tests.support.feed import (
    Feed,
    assert_order_was_kept,
    assert_rows_are_right,
    assert_worked_on_once,
)
from tests.support.profiles import Event, fresh_consumer, new, pet, update
from tests.support.worker_process import WorkerProcess, wait_for


@pytest.fixture
def slow_calls(deploy: Deploy) -> Iterator[Deployment]:
    """An installation with slow calls, so that an interrupted worker always has work in progress."""
    deployment = deploy(SYNC_MAX_ATTEMPTS="1000")
    with deployment.simulator.fault("slow", delayMs=10):
        yield deployment


@contextmanager
def stuck_consumers(deployment: Deployment, number: int = 3) -> Iterator[list[str]]:
    """Consumers whose events fail during the ``with`` block; each has three events."""
    consumers = [fresh_consumer("stuck") for _ in range(number)]
    faults = [
        deployment.simulator.add_fault("server_fault", consumerId=consumer, operation="Update")
        for consumer in consumers
    ]
    try:
        yield consumers
    finally:
        for fault in faults:
            deployment.simulator.request("DELETE", f"/_sim/faults/{fault}")


def all_committed(deployment: Deployment) -> None:
    wait_for(
        deployment.committed_to_the_end,
        lambda: f"{deployment.probe.committed(deployment.pipeline.group, deployment.pipeline.topic)}",
        15,
    )


def settled_by(worker: WorkerProcess) -> float:
    """The number of events that this process has settled."""
    return worker.metric("profile_sync_events_settled_total")


def owned_by(worker: WorkerProcess) -> set[int]:
    """The partitions that a worker reads."""
    return {int(number) for number in re.findall(r'consumer_lag{partition="(\d+)"}', worker.text("/metrics"))}


def publish_to(deployment: Deployment, partition: int, event: Event) -> None:
    deployment.publish_raw([(event["consumerId"].encode(), json.dumps(event).encode(), None)], partition=partition)


def assert_all_synced(deployment: Deployment, worker: WorkerProcess, feed: Feed, others: int = 0) -> None:
    """Every event is settled, counted once, and written."""
    events = len(feed.published) + others
    totals = deployment.settled(worker, events, within=60)
    assert (totals["synced"], totals["events"], totals["parked"]) == (events, events, 0)
    assert deployment.dead_letters() == []
    all_committed(deployment)
    assert_rows_are_right(deployment, feed.published)


def test_workers_that_come_and_leave_do_every_event_once_and_in_order(deploy: Deploy) -> None:
    # Work in progress gets a third of the session timeout to end before partitions move.
    deployment = deploy(KAFKA_SESSION_TIMEOUT_SECONDS="20")
    first = deployment.worker().ready()
    with deployment.simulator.fault("slow", delayMs=10), Feed(deployment, seed=11) as feed:
        feed.flowing(first)
        second = deployment.worker().ready()
        wait_for(lambda: settled_by(second) > 10, lambda: "a share of the second worker", 30)
        assert settled_by(first) > 10
        asked = time.monotonic()
        assert first.terminate() == 0
        assert time.monotonic() - asked < 10
        feed.flowing(second)
        # The leaving worker has committed everything, so the next owner reads nothing again.
        assert second.terminate() == 0
        first.start().ready()
        feed.flowing(first)
    assert_all_synced(deployment, first, feed)
    assert_worked_on_once(deployment, feed.published)


def test_killed_worker_is_followed_by_one_that_loses_and_repeats_no_count(slow_calls: Deployment) -> None:
    worker = slow_calls.worker().ready()
    with Feed(slow_calls, seed=13) as feed, stuck_consumers(slow_calls) as stuck:
        lines = [event for one in stuck for event in (new(one, pet=[pet("p1")]), update(one), update(one, name="Eve"))]
        slow_calls.publish(*lines)
        wait_for(lambda: worker.totals()["parked"] == len(lines), lambda: f"{worker.totals()}", 20)
        feed.flowing(worker)
        worker.kill9()
        # The read model may exist, or is rebuilt.
        worker.start().ready()
        assert worker.totals()["parked"] == len(lines)
        feed.flowing(worker)
        worker.kill9()
        elsewhere = slow_calls.worker().ready()
        feed.flowing(elsewhere)
        assert elsewhere.totals()["parked"] == len(lines)
    assert_all_synced(slow_calls, elsewhere, feed, others=len(lines))
    assert_order_was_kept(slow_calls, feed.published)
    for consumer in stuck:
        written = [call for call in slow_calls.simulator.calls(consumer) if call.status == "ok"]
        names = [call.rows[0]["FirstName"] for call in written if call.data_extension == "CMT_Consumer"]
        assert names == ["Ann", "Ann", "Eve"]


def test_frozen_worker_rejoins_and_nothing_it_held_is_done_out_of_order(slow_calls: Deployment) -> None:
    first, second = slow_calls.worker(), slow_calls.worker()
    with Feed(slow_calls, seed=14) as feed:
        wait_for(lambda: all(settled_by(one.ready()) > 5 for one in (first, second)), lambda: "a share for each", 45)
        partition = min(owned_by(first))
        consumer = fresh_consumer()
        older = new(consumer, pet=[pet(f"p{number}", Name="older") for number in range(40)])
        newer = update(consumer, pet=[pet(f"p{number}", Name="newer") for number in range(3)])
        with slow_calls.simulator.fault("slow", consumerId=consumer, delayMs=100):
            publish_to(slow_calls, partition, older)
            wait_for(lambda: len(slow_calls.simulator.calls(consumer)) > 5, lambda: "the older event under way", 20)
            first.signal(signal.SIGSTOP)
        publish_to(slow_calls, partition, newer)
        # The session ends. The second worker takes over and processes both events, the older one from its beginning.
        assert slow_calls.outcome(second, newer)["outcome"] == "synced"
        first.signal(signal.SIGCONT)
        first.ready()
        before = settled_by(first)
        wait_for(lambda: settled_by(first) > before, lambda: f"work of the thawed one: {first.log_tail()}", 30)
    assert first.running
    assert_all_synced(slow_calls, second, feed, others=2)
    assert first.totals() == second.totals()
    assert_order_was_kept(slow_calls, feed.published)
    posted = [call for call in slow_calls.simulator.calls(consumer) if str(call) == "Update CMT_Pet"]
    names = [str(call.rows[0]["Name"]) for call in posted]
    assert names == sorted(names, reverse=True), "the thawed worker went on with what it had begun"
    assert names[-3:] == ["newer"] * 3
