"""``profile-sync dlq redrive`` and ``discard``: tasks for the workers."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from app.cli import dlq_options as options
from app.cli.command_errors import EXIT_FAILURE, CommandError, report_failures
from app.cli.output import printable
from app.cli.read_once import caught_up_read_models
from app.cli.task_bar import wait_with_bar
from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import TaskRequest
from app.delivery.operator_task import LEAST_PER_SECOND, MOST_PER_SECOND, Action, OperatorTask
from app.flows.catalog import load_catalog
from app.flows.letter_values import LetterValues, edits_of
from app.flows.redrive_dry_run import dry_run as run_dry
from app.flows.task_requests import carry_out, foresee, look, topics_of
from app.flows.task_waiting import NO_WORKER, a_worker_is_running
from app.flows.task_writing import Preview, this_user
from app.readmodels import ReadModels
from app.readmodels.forecast_texts import dry_run_lines, dry_run_view
from app.readmodels.letter_texts import dead_letters, list_lines, nothing_matches
from app.readmodels.task_texts import ended_lines, still_open_text
from app.readmodels.tasks import TaskState
from app.settings import DataExtensionSettings, KafkaSettings, load
from app.settings.pipelines import pipeline_of


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
        typer.Option(
            metavar="N", min=LEAST_PER_SECOND, max=MOST_PER_SECOND, help="Begin at most N a second, over all workers."
        ),
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
    request = TaskRequest(Action.REDRIVE, tuple(ids or ()), chosen, everything, note, rate, force)
    with options.report_wrong_use():
        request.check(dry_run=dry_run)
    if dry_run:
        _dry_run(request, as_json)
    else:
        _run(request, yes, wait, as_json)


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
    request = TaskRequest(Action.DISCARD, tuple(ids or ()), chosen, everything, note)
    with options.report_wrong_use():
        request.check()
    _run(request, yes, wait, as_json)


def _run(request: TaskRequest, yes: bool, wait: bool, as_json: bool) -> None:
    may_ask = sys.stdin.isatty() and not as_json
    if not yes and as_json:
        raise typer.BadParameter("give --yes: with --json there is no question")
    with report_failures(), options.report_refusals():
        kafka = load(KafkaSettings)
        pipeline = pipeline_of(kafka)
        with caught_up_read_models(topics=topics_of(request.action)) as models:
            found = foresee(models, request)
            seen, superseded = found.seen, found.superseded
            if not seen.total:
                raise CommandError(f"{nothing_matches(models.letters.count())}\nNo task was made.")
            if not as_json:
                _show(request, seen, superseded)
            if not yes and not may_ask:
                raise typer.BadParameter("no task was made; without a terminal, give --yes")
            if not yes and not typer.confirm(f"{request.action.value.capitalize()} {dead_letters(seen.total)}?"):
                raise CommandError("No task was made.")
            now_ms = int(time.time() * 1000)
            task = carry_out(kafka, pipeline, request, seen, by=this_user(), now_ms=now_ms).task
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
    request = TaskRequest(Action.REDRIVE, (str(letter),))
    now_ms = int(time.time() * 1000)
    made = carry_out(kafka, pipeline_of(kafka), request, look(models, request), by=this_user(), now_ms=now_ms)
    typer.echo(f"task {made.task.id}")


def _dry_run(request: TaskRequest, as_json: bool) -> None:
    with report_failures(), options.report_refusals():
        kafka = load(KafkaSettings)
        catalog = load_catalog(load(DataExtensionSettings).data_extensions)
        with (
            caught_up_read_models(topics=topics_of(request.action)) as models,
            LetterValues(kafka, pipeline_of(kafka), edits_of(models)) as values,
        ):
            number_open = models.letters.count()
            would = run_dry(models, values, catalog, look(models, request), force=request.force)
    if as_json:
        typer.echo(json.dumps(dry_run_view(would.matched, would.superseded, would.items, would.estimate)))
    elif not would.matched:
        typer.echo(nothing_matches(number_open))
    else:
        for line in dry_run_lines(would.matched, would.items, would.estimate):
            typer.echo(printable(line))


def _show(request: TaskRequest, seen: Preview, superseded: int | None) -> None:
    more = seen.total > len(seen.sample)
    typer.echo(f"{dead_letters(seen.total)} to {request.action.value}" + (", the newest:" if more else ":"))
    for line in list_lines(seen.sample):
        typer.echo(f"  {printable(line)}")
    if superseded:
        typer.echo(f"About {superseded:,} of them will be skipped, because a later state was written.")
    if request.force:
        typer.echo("With --force, a later state is overwritten, and a record of another program that has no")
        typer.echo("value deletes the profile. --dry-run says what each of them does.")


def _wait(kafka: KafkaSettings, models: ReadModels, task: OperatorTask, total: int) -> None:
    ended = wait_with_bar(kafka, models, task, total)
    for line in ended_lines(task.action, ended.state, ended.progress):
        typer.echo(line, err=True)
    if ended.state is TaskState.CANCELLED:
        raise CommandError(f"task {task.id} was cancelled; {ended.progress.open:,} still open")
    if ended.progress.open:
        typer.echo(still_open_text(task.id, ended.progress), err=True)
        raise typer.Exit(EXIT_FAILURE)
