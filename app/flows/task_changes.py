"""Pauses, resumes and cancels operators' tasks. Commands and API take this way, so they decide alike."""

from __future__ import annotations

from app.delivery.headers import cut
from app.delivery.letter_selection import NotFound, NotPossible, TaskChange, check_note
from app.delivery.operator_task import BY_BYTES, Note, TaskKey
from app.delivery.pipeline import Pipeline
from app.flows.task_writing import write_note
from app.kafka.acknowledged import WRITE_SECONDS
from app.readmodels import ReadModels
from app.readmodels.tasks import TaskState
from app.settings import KafkaSettings


def change_task(
    kafka: KafkaSettings,
    pipeline: Pipeline,
    models: ReadModels,
    task: str,
    change: TaskChange,
    *,
    by: str,
    now_ms: int,
    note: str = "",
    seconds: float = WRITE_SECONDS,
) -> int | None:
    """Write the change. Returns its offset in the tasks topic; None: the task is already so, and nothing was written.

    Raises:
        NotFound: there is no such task.
        NotPossible: the task is done or cancelled.
        SelectionError: the note is too long.
        KafkaAccessError: the change was not acknowledged. It may have been written all the same.
    """
    check_note(note)
    known, state = models.tasks.known(task), models.tasks.state(task)
    if known is None or state is None:
        raise NotFound("there is no task with this ID")
    if state in (TaskState.DONE, TaskState.CANCELLED):
        raise NotPossible(f"task {task} is already {state}; nothing was changed")
    if change is not TaskChange.CANCEL and known.paused == (change is TaskChange.PAUSE):
        return None
    part = "cancel" if change is TaskChange.CANCEL else "pause"
    said = Note(cut(by, BY_BYTES), now_ms, note.strip(), change is not TaskChange.RESUME)
    return write_note(kafka, pipeline, TaskKey(task, part), said, seconds=seconds)
