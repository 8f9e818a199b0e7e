"""The last act of a run: the main topic is deleted and recreated under the workers, and new events come.

Then (docs/topics.md) every worker must end, name the topic, and say how to go on. When it is
started again, it must end again. No event of the new topic may be processed under the old state. With a new
``KAFKA_GROUP`` and ``KAFKA_START=earliest``, and no other change, the same workers must process all new events. They
are judged separately, by the counts of the new group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.chaos import events
from tests.chaos.event_calls import Strategy
from tests.chaos.evidence import Evidence, collect
from tests.chaos.rest import come_to_rest
from tests.support.deployment import Deployment
from tests.support.simulator_probe import Call
from tests.support.topic_changes import TopicChanges
from tests.support.worker_process import WorkerProcess

# Workers compare the topic every minute, and work in progress gets time to end.
REFUSED_SECONDS = 120.0
CONSUMERS = 60
# A different seed, so that the consumers are not those of the run.
SEED_APART = 10_000_000


def recreate_topic(
    deployment: Deployment,
    workers: Mapping[int, WorkerProcess],
    *,
    seed: int,
    count: int,
    strategy: Strategy,
    rest_seconds: float,
) -> Evidence:
    """Do it to a run that is at rest and without faults; what is seen of the new topic and group, and of refusals."""
    topic = deployment.pipeline.topic
    # The journal of calls goes on; the new group has a dead-letter topic of its own.
    calls_since = max((call.seq for call in deployment.simulator.calls()), default=0)
    written = {slot: _length(worker) for slot, worker in workers.items()}
    TopicChanges(deployment).recreate(topic)
    drafts = list(events.drafts(seed + SEED_APART, count, CONSUMERS))
    deployment.forget_producers()
    deployment.publish_raw([(draft.key, draft.value, None) for draft in drafts])
    remarks = _refusals(workers, topic, written)
    written = {slot: _length(worker) for slot, worker in workers.items()}
    for worker in workers.values():
        worker.start()
    remarks += _refusals(workers, topic, written)
    if made := concerning(deployment.simulator.calls(since=calls_since)):
        remarks.append(f"{len(made)} calls were made of the new topic under the old state, the first: {made[0]}")

    group = f"{deployment.pipeline.group}-2"
    other = replace(deployment, kafka=deployment.kafka.model_copy(update={"group": group}))
    for worker in workers.values():
        worker.settings = {**worker.settings, "KAFKA_GROUP": group, "KAFKA_START": "earliest"}
        worker.start()
    first = workers[min(workers)].ready()
    first.kill9()
    first.start()
    remarks += come_to_rest(workers, count, rest_seconds)
    return collect(
        other,
        workers,
        strategy=strategy,
        with_faults=False,
        published=[(draft.key, draft.value) for draft in drafts],
        done=[],
        remarks=remarks,
        wall_seconds=0.0,
        calls_since=calls_since,
    )


def concerning(calls: Sequence[Call]) -> list[Call]:
    """Those that are made for an event: all but the questions for types of columns and the like."""
    return [call for call in calls if re.fullmatch(r"c[0-9]+-[0-9]+", call.consumer_id or "")]


def refusal_problem(exit_code: int | None, log: str, topic: str) -> str | None:
    """Why what a worker did was no loud refusal that names the topic and the way to go on; None: it was one."""
    if exit_code is None:
        return f"did not end within {REFUSED_SECONDS:g} s"
    if exit_code != 1:
        return f"ended with exit code {exit_code}"
    said = [line for line in log.splitlines() if '"cannot go on"' in line]
    if not any(topic in line and "KAFKA_GROUP" in line and "KAFKA_START" in line for line in said):
        return f"ended without saying how to go on, but: {said[-3:]}"
    return None


def _refusals(workers: Mapping[int, WorkerProcess], topic: str, written: Mapping[int, int]) -> list[str]:
    """What is wrong. ``written``: how long each log was before."""
    found = []
    for slot, worker in workers.items():
        try:
            code: int | None = worker.ended(REFUSED_SECONDS)
        except AssertionError:
            code = None
        log = worker.log.read_bytes()[written[slot] :].decode(errors="replace")
        if problem := refusal_problem(code, log, topic):
            found.append(f"the topic was recreated, and worker {slot} {problem}: {worker.log}")
    return found


def _length(worker: WorkerProcess) -> int:
    return worker.log.stat().st_size
