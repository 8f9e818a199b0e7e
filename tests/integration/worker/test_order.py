"""Events of a consumer stay in order while one fails, and other consumers never wait for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack

from tests.support.deployment import Deployment, Published, without_nulls
from tests.support.profiles import (
    Event,
    delete_entities,
    fresh_consumer,
    fresh_market,
    new,
    pet,
    update,
)
from tests.support.worker_process import WorkerProcess, wait_for

PARTITION = 1


def publish_side_by_side(shared: Deployment, events: Sequence[Event]) -> list[Published]:
    """Publish all events to one partition, so that only the program keeps consumers apart."""
    records = [(event["consumerId"].encode(), json.dumps(event).encode(), None) for event in events]
    return shared.publish_raw(records, partition=PARTITION)


def test_later_events_wait_while_one_is_in_retry_and_other_consumers_flow(
    shared: Deployment, worker: WorkerProcess
) -> None:
    slow, market = fresh_consumer("slow"), fresh_market()
    first = new(slow, market, name="First", pet=[pet("p1"), pet("p2")])
    second = update(slow, market, name="Second", pet=[pet("p3"), pet("p4")])
    third = delete_entities(slow, market, pet=[pet("p3")])
    others = [new(fresh_consumer("other"), pet=[pet("p1")]) for _ in range(20)]
    # Two attempts end by the call's timeout: the consumer is away for some seconds.
    shared.simulator.add_fault("timeout", consumerId=slow, operation="Update", times=2)
    published = publish_side_by_side(shared, [first, *others[:10], second, third, *others[10:]])
    mine = [published[0], published[11], published[12]]

    for other in others:
        assert shared.outcome(worker, other, within=5)["outcome"] == "synced"
    assert len(shared.simulator.calls(slow)) <= 1, "the others waited for the slow one"

    def waiting() -> list[tuple[str, int]]:
        view = worker.consumer(slow)
        return [(parked["id"], parked["attempts"]) for parked in view["parked"]] if view else []

    in_line = [(one.id, attempts) for one, attempts in zip(mine, (1, 0, 0), strict=True)]
    wait_for(lambda: waiting() == in_line, lambda: f"parked: {waiting()}", 10)
    assert worker.totals()["parked"] == 3

    # An event that arrives while they wait runs after them.
    fourth = update(slow, market, name="Fourth", pet=[pet("p5")])
    mine += publish_side_by_side(shared, [fourth])
    assert shared.market_counts(worker, market, events=4) == {"synced": 4}
    writes = [str(call) for call in shared.simulator.calls(slow) if call.operation != "Retrieve"]
    assert writes == [
        "Update CMT_Consumer dropped",
        "Update CMT_Consumer dropped",
        # first
        "Update CMT_Consumer",
        "Update CMT_Pet",
        "Update CMT_Pet",
        # second
        "Delete CMT_Pet",
        "Delete CMT_Pet",
        "Update CMT_Consumer",
        "Update CMT_Pet",
        "Update CMT_Pet",
        # third
        "Delete CMT_Pet",
        # fourth
        "Delete CMT_Pet",
        "Update CMT_Consumer",
        "Update CMT_Pet",
    ]
    held = shared.simulator.rows(shared.catalog, slow)
    assert without_nulls(held) == without_nulls(shared.expected(mine))

    # When nothing of the consumer is parked, events run from the main topic again.
    fifth = update(slow, market, name="Fifth")
    [last] = publish_side_by_side(shared, [fifth])
    assert shared.outcome(worker, fifth)["attempts"] == 1
    assert shared.retry_copies(last) == []
    assert [len(shared.retry_copies(one)) for one in mine] == [1, 1, 1, 1]


def test_waiting_events_carry_no_attempt_and_no_reason(shared: Deployment, worker: WorkerProcess) -> None:
    consumer = fresh_consumer()
    first, second = new(consumer), update(consumer, name="Eve")
    with shared.simulator.fault("server_fault", consumerId=consumer, operation="Update", times=1):
        published = publish_side_by_side(shared, [first, second])
        assert shared.outcome(worker, second)["attempts"] == 1
    assert shared.outcome(worker, first)["attempts"] == 2
    # The second one may have come so late that it never had to wait.
    for copy in shared.retry_copies(published[1]):
        assert copy.header("x-sync-attempt") == b"0"
        assert copy.header("x-sync-reason") is None


def test_an_event_that_is_given_up_lets_the_next_one_run(shared: Deployment, worker: WorkerProcess) -> None:
    consumer, market = fresh_consumer(), fresh_market()
    first, second = new(consumer, market, name="First"), new(consumer, market, name="Second")
    with shared.simulator.fault("server_fault", consumerId=consumer, operation="Update", times=3):
        published = publish_side_by_side(shared, [first, second])
        assert shared.outcome(worker, second)["outcome"] == "synced"
    assert shared.outcome(worker, first)["outcome"] == "failed"
    assert shared.market_counts(worker, market, events=2) == {"synced": 1, "failed": 1}
    assert [call.status for call in shared.simulator.calls(consumer)] == ["fault", "fault", "fault", "ok"]
    held = shared.simulator.rows(shared.catalog, consumer)
    assert without_nulls(held) == without_nulls(shared.expected(published[1:]))


def test_events_of_a_consumer_reach_marketing_cloud_in_order_whatever_fails(
    shared: Deployment, worker: WorkerProcess
) -> None:
    market, versions = fresh_market(), [f"v{version:02}" for version in range(15)]
    consumers = [fresh_consumer() for _ in range(8)]
    copies = len(shared.retry_copies())
    with ExitStack() as faults:
        for consumer in consumers:
            fault = shared.simulator.fault("server_fault", consumerId=consumer, operation="Update", probability=0.25)
            faults.enter_context(fault)
        shared.publish(*(new(consumer, market, name=version) for version in versions for consumer in consumers))
        counts = shared.market_counts(worker, market, events=len(versions) * len(consumers))
    assert sum(counts.values()) == len(versions) * len(consumers)
    assert set(counts) <= {"synced", "failed"}
    assert len(shared.retry_copies()) > copies, "nothing failed, so nothing was proven"
    for consumer in consumers:
        sent = [str(call.rows[0]["FirstName"]) for call in shared.simulator.calls(consumer)]
        assert sent == sorted(sent)
        assert sorted(set(sent)) == versions
