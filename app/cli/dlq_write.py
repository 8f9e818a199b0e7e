"""``profile-sync dlq redrive`` and ``discard``: tasks for the workers."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli import dlq_options as options
from app.cli.command_errors import EXIT_FAILURE, CommandError, report_failures
from app.cli.output import printable
from app.cli.read_once import caught_up_read_models
from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import check_kinds, check_task
from app.delivery.operator_task import MOST_PER_SECOND, Action, LetterFilter, OperatorTask, Selection
from app.flows.catalog import load_catalog
from app.flows.letter_values import LetterValues, edits_of
from app.flows.redrive_dry_run import dry_run as run_dry
from app.flows.redrive_preview import count_superseded
from app.flows.task_waiting import NO_WORKER, a_worker_is_running, wait_for_task
from app.flows.task_writing import Preview, make_task, preview, resolve, this_user, write_task
from app.readmodels import Followed, ReadModels
from app.readmodels.forecast_texts import dry_run_lines, dry_run_view
from app.readmodels.letter_texts import dead_letters, list_lines, still_open_text
from app.readmodels.tasks import TaskProgress, TaskState
from app.settings import DataExtensionSettings, KafkaSettings, load
from app.settings.pipelines import pipeline_of

_TOPICS = (Followed.LETTERS, Followed.TASKS, Followed.STATE)
# Stands for the IDs that were typed, until they are looked up.
_SOME_ID = LetterId(0, 0)


def redrive(
    ids: options.Ids = None,
    fingerprint: options.Fingerprint = "",
    reason: options.Reason = "",
    market: options.Market = "",
    operation: options.Operation = "",
    entity: options.Entity = "",
    consumer: options.Consumer = "",
    since: options.Since = "",
    until: options.Until = "",
    everything: options.Everything = False,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.01, max=MOST_PER_SECOND, help="Begin at most N a second, over all workers."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also run what a later state has superseded. Single IDs only.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say for each consumer what would happen, and write nothing.")
    ] = False,
    note: options.Note = "",
    yes: options.Yes = False,
    wait: options.Wait = False,
    as_json: options.AsJson = False,
) -> None:
    """Run dead letters again: name them by ID, give a filter, or give --all.

    Workers do it, in order per consumer, oldest first. What a later state has superseded is skipped. Exits 1 if, with
    --wait, some are still open at the end. Needs KAFKA_*; --dry-run also needs CMT_DATA_EXTENSIONS if the data
    extensions are not the bundled ones.
    """
    chosen = options.letter_filter(fingerprint, reason, market, operation, entity, consumer, since, until)
    if dry_run:
        _dry_run(ids or [], chosen, everything, as_json, force=force)
        return
    _run(Action.REDRIVE, ids or [], chosen, everything, note, yes, wait, as_json, rate=rate, force=force)


def discard(
    ids: options.Ids = None,
    fingerprint: options.Fingerprint = "",
    reason: options.Reason = "",
    market: options.Market = "",
    operation: options.Operation = "",
    entity: options.Entity = "",
    consumer: options.Consumer = "",
    since: options.Since = "",
    until: options.Until = "",
    everything: options.Everything = False,
    note: options.Note = "",
    yes: options.Yes = False,
    wait: options.Wait = False,
    as_json: options.AsJson = False,
) -> None:
    """Close dead letters that are not wanted any more; --note says why and is required.

    Name them by ID, give a filter, or give --all. Their events count as discarded from then on. Needs KAFKA_* only.
    """
    chosen = options.letter_filter(fingerprint, reason, market, operation, entity, consumer, since, until)
    _run(Action.DISCARD, ids or [], chosen, everything, note, yes, wait, as_json)


def _run(
    action: Action,
    ids: list[str],
    chosen: LetterFilter,
    everything: bool,
    note: str,
    yes: bool,
    wait: bool,
    as_json: bool,
    *,
    rate: float | None = None,
    force: bool = False,
) -> None:
    with options.report_wrong_use():
        check_kinds(ids, chosen, everything=everything)
        check_task(action, Selection(() if not ids else (_SOME_ID,)), note=note, force=force)
    may_ask = sys.stdin.isatty() and not as_json
    if not yes and not may_ask:
        raise typer.BadParameter("give --yes: without a terminal, and with --json, there is no question")
    topics = (*_TOPICS, Followed.CONSUMERS) if action is Action.REDRIVE else _TOPICS
    with report_failures(), options.report_refusals():
        kafka = load(KafkaSettings)
        pipeline = pipeline_of(kafka)
        with caught_up_read_models(topics=topics) as models:
            seen = preview(models, resolve(models, ids) if ids else Selection(filter=chosen))
            if not seen.total:
                raise CommandError("No open dead letter matches; no task was made.")
            superseded = count_superseded(models, seen, force=force) if action is Action.REDRIVE else None
            if not as_json:
                _show(action, seen, superseded)
            if not yes and not typer.confirm(f"{action.value.capitalize()} {dead_letters(seen.total)}?"):
                raise CommandError("No task was made.")
            now_ms = int(time.time() * 1000)
            task = make_task(action, seen, by=this_user(), now_ms=now_ms, note=note, rate=rate, force=force)
            write_task(kafka, pipeline, task)
            if as_json:
                typer.echo(json.dumps({"taskId": task.id, "matched": seen.total, "superseded": superseded}))
            else:
                typer.echo(f"task {task.id}")
            if a_worker_is_running(kafka, pipeline) is False:
                typer.echo(NO_WORKER, err=True)
            if wait:
                _wait(kafka, models, task, seen.total)
            elif not as_json:
                typer.echo(f"See how far it is: profile-sync dlq tasks {task.id}")


def redrive_now(kafka: KafkaSettings, models: ReadModels, letter: LetterId) -> None:
    """Make a task that redrives one dead letter."""
    seen = preview(models, Selection((letter,)))
    task = make_task(Action.REDRIVE, seen, by=this_user(), now_ms=int(time.time() * 1000))
    write_task(kafka, pipeline_of(kafka), task)
    typer.echo(f"task {task.id}")


def _dry_run(ids: list[str], chosen: LetterFilter, everything: bool, as_json: bool, *, force: bool) -> None:
    with options.report_wrong_use():
        check_kinds(ids, chosen, everything=everything)
        check_task(Action.REDRIVE, Selection(() if not ids else (_SOME_ID,)), note="", force=force)
    with report_failures(), options.report_refusals():
        kafka = load(KafkaSettings)
        catalog = load_catalog(load(DataExtensionSettings).data_extensions)
        with (
            caught_up_read_models(topics=(*_TOPICS, Followed.CONSUMERS)) as models,
            LetterValues(kafka, pipeline_of(kafka), edits_of(models)) as values,
        ):
            seen = preview(models, resolve(models, ids) if ids else Selection(filter=chosen))
            would = run_dry(models, values, catalog, seen, force=force)
    if as_json:
        typer.echo(json.dumps(dry_run_view(would.matched, would.superseded, would.items, would.estimate)))
    elif not would.matched:
        typer.echo("No open dead letter matches.")
    else:
        for line in dry_run_lines(would.matched, would.items, would.estimate):
            typer.echo(printable(line))


def _show(action: Action, seen: Preview, superseded: int | None) -> None:
    typer.echo(
        f"{dead_letters(seen.total)} to {action.value}" + (", the newest:" if seen.total > len(seen.sample) else ":")
    )
    for line in list_lines(seen.sample):
        typer.echo(f"  {printable(line)}")
    if superseded:
        typer.echo(f"About {superseded:,} of them will be skipped, because a later state was written.")


def _wait(kafka: KafkaSettings, models: ReadModels, task: OperatorTask, total: int) -> None:
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

        try:
            ended = wait_for_task(kafka, pipeline_of(kafka), models, task.id, on_progress=show, on_trouble=tell)
        except KeyboardInterrupt:
            raise CommandError(f"The task goes on. To stop it: profile-sync dlq cancel {task.id}") from None
    outcomes = ", ".join(f"{number:,} {name}" for name, number in sorted(ended.progress.outcomes.items()))
    typer.echo(f"{ended.state.value}: {outcomes or 'nothing was handled'}", err=True)
    if ended.state is TaskState.CANCELLED:
        raise CommandError(f"task {task.id} was cancelled; {ended.progress.open:,} still open")
    if ended.progress.open:
        typer.echo(still_open_text(task.id, ended.progress), err=True)
        raise typer.Exit(EXIT_FAILURE)
