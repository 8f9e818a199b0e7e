"""A consumer with a large backlog: the others do not wait for it, and its own events stay in order."""

from __future__ import annotations

import json

from tests.support.deployment import Deployment
from tests.support.profiles import fresh_consumer, fresh_market, new
from tests.support.worker_process import WorkerProcess, wait_for

PARTITION = 2
HOT, OTHERS = 2_000, 50  # more than the room takes (16 for each of 64 slots), and as much again


def test_others_do_not_wait_for_a_consumer_with_a_backlog(shared: Deployment, worker: WorkerProcess) -> None:
    hot, market, theirs = fresh_consumer("hot"), fresh_market(), fresh_market()
    backlog = [new(hot, market, name=f"v{number:05}") for number in range(HOT)]
    others = [new(fresh_consumer(), theirs) for _ in range(OTHERS)]
    records = [(event["consumerId"].encode(), json.dumps(event).encode(), None) for event in (*backlog, *others)]
    hot_calls = "/_sim/calls?consumer=" + hot
    with shared.simulator.fault("slow", consumerId=hot, delayMs=20):
        published = shared.publish_raw(records, partition=PARTITION)
        assert shared.market_counts(worker, theirs, events=OTHERS) == {"synced": OTHERS}
        done = len(shared.simulator.request("GET", hot_calls)["calls"])
        assert done < HOT / 4, f"the others waited for {done} of {HOT} events of the hot consumer"
    assert shared.retry_copies(published[HOT - 1]), "nothing was parked, so nothing was proven"
    wait_for(
        lambda: shared.market_counts(worker, market).get("synced") == HOT,
        lambda: f"{shared.market_counts(worker, market)}\n{worker.log_tail(15)}",
        120,
    )
    names = [call.rows[0]["FirstName"] for call in shared.simulator.calls(hot)]
    assert names == [f"v{number:05}" for number in range(HOT)]
    assert worker.totals()["parked"] == 0
