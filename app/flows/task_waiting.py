"""Waits until an operator's task is done, and finds out whether a worker is there to carry it out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.delivery.cluster_status import live_workers
from app.delivery.pipeline import Pipeline
from app.delivery.record import TopicPartition
from app.flows.status_records import is_ours, read_workers
from app.kafka.admin import Admin, KafkaAccessError
from app.readmodels import ReadModels
from app.readmodels.status_topic import read_status_once
from app.readmodels.tasks import TaskProgress, TaskState
from app.settings import KafkaSettings

LOOK_SECONDS = 0.2
# While a task waits, the workers are looked for this often.
WORKER_SECONDS = 10.0
STATUS_SECONDS = 15.0

NO_WORKER = "No worker is running. The task waits until one is started."


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task that was done or cancelled, and what came of it."""

    state: TaskState
    progress: TaskProgress


def a_worker_is_running(kafka: KafkaSettings, pipeline: Pipeline) -> bool | None:
    """Whether a worker has reported lately; None: not known, because the status topic cannot be read."""
    try:
        records = read_status_once(kafka, pipeline, is_ours, STATUS_SECONDS)
    except KafkaAccessError:
        return None
    return bool(live_workers(read_workers(records).values(), int(time.time() * 1000)))


def wait_for_task(
    kafka: KafkaSettings,
    pipeline: Pipeline,
    models: ReadModels,
    task: str,
    *,
    wrote: str,
    on_progress: Callable[[TaskState, TaskProgress], None],
    on_trouble: Callable[[str], None],
) -> TaskEnded:
    """Return when a task is done or cancelled. It waits as long as that takes.

    Args:
        wrote: the topic that the task writes its results to; ``models`` follows it.
        on_trouble: called with what holds the task up, once for each new text; "" when that is over.

    Raises:
        KafkaAccessError: where that topic ends could not be asked for.
        ReadModelUnavailable: the file of the read models is being replaced.
    """
    told, looked = "", time.monotonic()
    while True:
        state, progress = models.tasks.state(task), models.tasks.progress(task)
        trouble = models.trouble() or ""
        if state is not None and progress is not None:
            on_progress(state, progress)
            if state in (TaskState.DONE, TaskState.CANCELLED):
                break
            if state is TaskState.WAITING and not trouble:
                trouble = told if told == NO_WORKER else ""
                if time.monotonic() - looked > WORKER_SECONDS:
                    looked = time.monotonic()
                    trouble = NO_WORKER if a_worker_is_running(kafka, pipeline) is False else ""
        if trouble != told:
            told = trouble
            on_trouble(told)
        time.sleep(LOOK_SECONDS)
    # A task's end may be read before its results, which were written earlier.
    _wait_for(models, _ends(kafka, wrote))
    progress = models.tasks.progress(task)
    assert progress is not None
    return TaskEnded(state, progress)


def _ends(kafka: KafkaSettings, topic: str) -> Mapping[TopicPartition, int]:
    with Admin(kafka) as admin:
        found = admin.topics([topic])
        if topic not in found:
            return {}
        return admin.ends([(topic, partition.id) for partition in found[topic].partitions])


def _wait_for(models: ReadModels, ends: Mapping[TopicPartition, int]) -> None:
    while any(models.position(topic, partition) < end for (topic, partition), end in ends.items()):
        time.sleep(LOOK_SECONDS)
