"""KAFKA_INSTANCE_ID: a worker that comes back in time gets its partitions back, without a rebalance for the others."""

from __future__ import annotations

from tests.integration.worker.conftest import Deploy
from tests.support.profiles import fresh_consumer, new
from tests.support.worker_process import WorkerProcess, wait_for


def takeovers(worker: WorkerProcess) -> int:
    return len(_taken_over(worker))


def owned_by(worker: WorkerProcess) -> set[int]:
    taken = _taken_over(worker)
    return set(taken[-1]) if taken else set()


def _taken_over(worker: WorkerProcess) -> list[list[int]]:
    return [entry["partitions"] for entry in worker.log_entries() if entry["event"] == "took over"]


def test_a_static_member_that_is_killed_and_comes_back_in_time_moves_no_partitions(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_SESSION_TIMEOUT_SECONDS="30", KAFKA_PARTITIONS="4")
    first = deployment.worker(KAFKA_INSTANCE_ID="one").ready()
    second = deployment.worker(KAFKA_INSTANCE_ID="two").ready()
    wait_for(lambda: len(owned_by(first)) == len(owned_by(second)) == 2, lambda: "two partitions each", 30)
    before, owned = takeovers(second), owned_by(first)
    first.kill9()
    first.start().ready()
    assert takeovers(first) > 1
    assert owned_by(first) == owned
    events = [new(fresh_consumer()) for _ in range(20)]
    deployment.publish(*events)
    assert deployment.settled(second, len(events))["synced"] == len(events)
    assert takeovers(second) == before, "the other worker was disturbed"


def test_a_static_member_that_stops_leaves_its_partitions_waiting_for_the_session_timeout(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_SESSION_TIMEOUT_SECONDS="8", KAFKA_PARTITIONS="4")
    first = deployment.worker(KAFKA_INSTANCE_ID="one").ready()
    second = deployment.worker(KAFKA_INSTANCE_ID="two").ready()
    wait_for(lambda: len(owned_by(first)) == len(owned_by(second)) == 2, lambda: "two partitions each", 30)
    before = takeovers(second)
    assert first.terminate() == 0
    assert takeovers(second) == before, "it said that it left"
    wait_for(lambda: len(owned_by(second)) == 4, lambda: f"all partitions: {second.log_tail(10)}", 30)


def test_two_workers_of_one_name_are_reported_and_one_of_them_goes_on(deploy: Deploy) -> None:
    deployment = deploy(KAFKA_INSTANCE_ID="one")
    workers = [deployment.worker().ready(), deployment.worker()]
    wait_for(lambda: any(not one.running for one in workers), lambda: workers[0].log_tail(), 60)
    [ended] = [one for one in workers if not one.running]
    [left] = [one for one in workers if one.running]
    assert ended.exit_code == 1
    assert "KAFKA_INSTANCE_ID=one" in ended.last_words()
    events = [new(fresh_consumer()) for _ in range(5)]
    deployment.publish(*events)
    deployment.settled(left, len(events))
