"""A progress bar for an operator's task that is waited for."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.command_errors import CommandError
from app.cli.output import printable
from app.delivery.operator_task import OperatorTask
from app.flows.task_waiting import TaskEnded, wait_for_task
from app.readmodels import ReadModels
from app.readmodels.tasks import TaskProgress, TaskState
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of


def wait_with_bar(kafka: KafkaSettings, models: ReadModels, task: OperatorTask, total: int) -> TaskEnded:
    """Return when a task is done or cancelled; it waits as long as that takes.

    Raises:
        CommandError: the person stopped waiting.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        line = bar.add_task(task.action.value, total=total)

        def show(state: TaskState, progress: TaskProgress) -> None:
            bar.update(line, completed=progress.done, total=max(total, progress.matched), description=state.value)

        def tell(trouble: str) -> None:
            if trouble:
                bar.console.print(printable(trouble), markup=False, highlight=False)

        pipeline = pipeline_of(kafka)
        wrote = pipeline.letters_topic if task.action.is_about_letters else pipeline.consumers_topic
        try:
            return wait_for_task(kafka, pipeline, models, task.id, wrote=wrote, on_progress=show, on_trouble=tell)
        except KeyboardInterrupt:
            raise CommandError(f"The task goes on. To stop it: profile-sync dlq cancel {task.id}") from None
