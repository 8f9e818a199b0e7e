"""When a run has come to rest: every worker says that all events are settled, and nothing is parked."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.worker_process import WorkerProcess, wait_for


def come_to_rest(workers: Mapping[int, WorkerProcess], events: int, within: float) -> list[str]:
    """Wait until the run has come to rest; returns what is wrong if it does not.

    Raises:
        AssertionError: a worker does not become ready.
    """
    for worker in workers.values():
        worker.ready()
    try:
        wait_for(lambda: _at_rest(workers, events), lambda: "all events settled", within)
    except AssertionError:
        totals = {slot: worker.status("/api/kpi/totals")[1] for slot, worker in workers.items()}
        return [f"not at rest after {within:g} s: {totals}"]
    return []


def _at_rest(workers: Mapping[int, WorkerProcess], events: int) -> bool:
    for worker in workers.values():
        status, totals = worker.status("/api/kpi/totals")
        if status != 200 or not totals["complete"] or totals["events"] < events or totals["parked"]:
            return False
    return True
