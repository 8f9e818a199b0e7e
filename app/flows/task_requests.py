"""From what an operator asks for to a task in Kafka. Commands and API take this way, so they decide alike."""

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.letter_selection import NotPossible, TaskRequest
from app.delivery.operator_task import Action, OperatorTask, Selection
from app.delivery.pipeline import Pipeline
from app.flows.redrive_preview import count_superseded
from app.flows.task_writing import MOST_NAMED, Preview, make_task, preview, resolve, write_task
from app.kafka.acknowledged import WRITE_SECONDS
from app.readmodels import Followed, ReadModels
from app.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a task would be about. ``superseded``: about how many are skipped; None: not counted, or a discard."""

    seen: Preview
    superseded: int | None


@dataclass(frozen=True, slots=True)
class WrittenTask:
    """A task that Kafka has acknowledged, and its offset in the tasks topic."""

    task: OperatorTask
    offset: int


def topics_of(action: Action) -> tuple[Followed, ...]:
    """What must have been read before ``foresee`` can answer."""
    topics = (Followed.LETTERS, Followed.TASKS, Followed.STATE)
    return (*topics, Followed.CONSUMERS) if action is Action.REDRIVE else topics


def foresee(models: ReadModels, request: TaskRequest) -> Foreseen:
    """What a task would be about now.

    Raises:
        SelectionError: see ``resolve``.
    """
    seen = look(models, request)
    if request.action is not Action.REDRIVE:
        return Foreseen(seen, None)
    return Foreseen(seen, count_superseded(models, seen, force=request.force))


def look(models: ReadModels, request: TaskRequest) -> Preview:
    """The dead letters that a request means now.

    Raises:
        SelectionError: see ``resolve`` and ``LetterIndex.check``.
    """
    if not request.ids:
        models.letters.check(request.chosen)
        return preview(models, Selection(filter=request.chosen))
    selection = resolve(models, request.ids)
    if request.action is Action.REDRIVE:
        _refuse_without_key(models, selection)
    return preview(models, selection)


def _refuse_without_key(models: ReadModels, selection: Selection) -> None:
    found = (models.letters.get(one) for one in selection.ids)
    keyless = [str(one.id) for one in found if one is not None and not one.letter.has_key]
    if keyless:
        shown = ", ".join(keyless[:MOST_NAMED]) + (", and more" if len(keyless) > MOST_NAMED else "")
        raise NotPossible(f"without a readable key only discard is possible: {shown}")


def carry_out(
    kafka: KafkaSettings,
    pipeline: Pipeline,
    request: TaskRequest,
    seen: Preview,
    *,
    by: str,
    now_ms: int,
    seconds: float = WRITE_SECONDS,
) -> WrittenTask:
    """Make the task and write it; the workers do the rest.

    Raises:
        SelectionError: the request is not allowed.
        KafkaAccessError: it was not acknowledged. It may have been written all the same.
    """
    task = make_task(
        request.action, seen, by=by, now_ms=now_ms, note=request.note, rate=request.rate, force=request.force
    )
    return WrittenTask(task, write_task(kafka, pipeline, task, seconds=seconds))
