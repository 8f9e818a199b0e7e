"""``profile-sync dlq tasks``, ``pause``, ``resume`` and ``cancel``: operators' tasks."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from app.cli import dlq_options as options
from app.cli.command_errors import CommandError, report_failures
from app.cli.output import printable
from app.cli.read_once import caught_up_read_models
from app.delivery.letter_selection import TaskChange
from app.flows.task_changes import change_task
from app.flows.task_writing import this_user
from app.readmodels import Followed, ReadModels
from app.readmodels.letter_views import task_view
from app.readmodels.task_texts import task_lines
from app.readmodels.tasks import KnownTask
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of

# The numbers of a task come from the dead-letter records.
TOPICS = (Followed.TASKS, Followed.LETTERS, Followed.STATE)
LISTED = 20

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The ID of a task; profile-sync dlq tasks lists them.")]


def tasks(
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Only this task.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="The most to show.")] = LISTED,
    as_json: options.AsJson = False,
) -> None:
    """List operators' tasks, newest first, and how far each has come.

    Needs KAFKA_* only.
    """
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=TOPICS) as models:
        known = models.tasks.all(limit) if task is None else [_known(models, task)]
        found = [
            (one, state, progress)
            for one in known
            if (state := models.tasks.state(one.task.id)) is not None
            and (progress := models.tasks.progress(one.task.id)) is not None
        ]
    if as_json:
        typer.echo(json.dumps({"items": [task_view(*one) for one in found]}))
        return
    if not found:
        typer.echo("There are no tasks.")
    for number, one in enumerate(found):
        if number:
            typer.echo()
        for line in task_lines(*one, int(time.time() * 1000)):
            typer.echo(printable(line))


def pause(task: TaskId, note: options.Note = "") -> None:
    """Pause a task. What has begun is finished."""
    _change(task, TaskChange.PAUSE, note)


def resume(task: TaskId, note: options.Note = "") -> None:
    """Let a paused task go on."""
    _change(task, TaskChange.RESUME, note)


def cancel(task: TaskId, note: options.Note = "") -> None:
    """Cancel a task for good. What has begun is finished."""
    _change(task, TaskChange.CANCEL, note)


def _change(task: str, change: TaskChange, note: str) -> None:
    with report_failures(), options.report_refusals():
        kafka = load(KafkaSettings)
        with caught_up_read_models(topics=TOPICS) as models:
            _known(models, task)
            now_ms = int(time.time() * 1000)
            by = this_user()
            changed = change_task(kafka, pipeline_of(kafka), models, task, change, by=by, now_ms=now_ms, note=note)
    if changed is None:
        typer.echo(f"{task} is {'already' if change is TaskChange.PAUSE else 'not'} paused; nothing was changed")
    else:
        typer.echo(f"{_SAID[change]} {task}")


_SAID = {TaskChange.PAUSE: "paused", TaskChange.RESUME: "resumed", TaskChange.CANCEL: "cancelled"}


def _known(models: ReadModels, task: str) -> KnownTask:
    known = models.tasks.known(task)
    if known is None:
        raise CommandError(f"there is no task {task}; profile-sync dlq tasks lists them")
    return known
