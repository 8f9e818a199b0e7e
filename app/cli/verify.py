"""``profile-sync verify``: compare Marketing Cloud with the last settled events, and repair it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.cli.command_errors import EXIT_FAILURE, CommandError, report_failures
from app.cli.moments import moment_ms
from app.cli.read_once import caught_up_read_models
from app.cli.task_bar import wait_with_bar
from app.cli.verify_report import document, show
from app.delivery.outcome import Outcome
from app.flows.catalog import load_catalog
from app.flows.repair_task import after_repair, repair_tasks
from app.flows.task_writing import this_user, write_task
from app.profile.holdings.findings import DriftFinding, Status
from app.readmodels import Followed, ReadModels, ReadModelUnavailable
from app.readmodels.kpi import dry_run as did_dry_run
from app.readmodels.task_texts import ended_lines
from app.settings import CmtSettings, KafkaSettings, SyncSettings, load
from app.settings.pipelines import pipeline_of


def verify(
    consumer: Annotated[str | None, typer.Option(metavar="ID", help="Check this consumer.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Check consumers with an event settled since then: a day such as 2026-01-31 (UTC), or an age such as "
            "5m, 24h or 7d.",
        ),
    ] = None,
    outcome: Annotated[
        Outcome | None,
        typer.Option(
            metavar="OUTCOME",
            help="Check consumers whose last event ended so, such as partial; with --since, only those since then.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check all consumers.")] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Have the workers write rows that are missing or differ, and delete rows that should not exist.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show the values that differ. They are personal data.")
    ] = False,
) -> None:
    """Compare the rows in Marketing Cloud with the last full state of each consumer that was settled.

    Takes exactly one of --consumer, --since, --outcome and --all; --outcome also together with --since.

    Exits 1 if there is drift (with --repair: drift that could not be repaired) or a consumer could not be checked.
    Makes seven calls per consumer. Needs KAFKA_* and CMT_*. With SYNC_DRY_RUN it writes nothing.
    """
    since_alone = since is not None and outcome is None
    if [consumer is not None, since_alone, outcome is not None, everything].count(True) != 1:
        raise typer.BadParameter("give exactly one of --consumer, --since, --outcome, --all")
    since_ms = None if since is None else since_time(since, datetime.now(UTC))
    with report_failures():
        kafka, cmt, dry_run = load(KafkaSettings), load(CmtSettings), load(SyncSettings).dry_run
        catalog = load_catalog(cmt.data_extensions, cmt.time_zone)
        # Imported here, because the import takes longer than most commands take to run.
        from app.flows.consumer_verification import Repair
        from app.flows.market_clients import AccountUnavailable
        from app.flows.verification import verify as run_verification

        pipeline = pipeline_of(kafka)
        topics = (Followed.STATE, Followed.CONSUMERS, *((Followed.TASKS,) if repair else ()))
        with caught_up_read_models(topics=topics) as models, progress_of(Console(stderr=True)) as progress:
            if repair and not dry_run and did_dry_run(models.partitions()):
                raise CommandError(
                    f"group {pipeline.group} does a dry run, so --repair does not write what its events say; "
                    "name the group of the real run (KAFKA_GROUP), or set SYNC_DRY_RUN=true to see what it would write"
                )
            line = progress.add_task("verifying", total=None)  # known when the consumers are listed

            def look(**chosen: Any) -> list[DriftFinding]:
                return asyncio.run(
                    run_verification(
                        kafka,
                        pipeline,
                        cmt,
                        catalog,
                        models,
                        on_total=lambda number: progress.update(line, total=number, completed=0),
                        on_finding=lambda _: progress.advance(line),
                        **chosen,
                    )
                )

            try:
                shown = Repair(cmt.batch_size, dry_run=True) if repair else None
                only = None if outcome is None else models.consumers.ended_names(outcome, since_ms)
                findings = look(consumer_id=consumer, only=only, since_ms=since_ms, repair=shown)
                if repair and not dry_run and carry_out(kafka, models, findings):
                    progress.update(line, description="verifying again")
                    again = [one.consumer_id for one in findings if one.status is Status.DRIFTED and one.writes]
                    findings = after_repair(findings, look(only=again))
            except (AccountUnavailable, ReadModelUnavailable) as error:
                raise CommandError(str(error)) from None
        if consumer is not None and not findings:
            raise CommandError(f"no event of consumer {consumer} was settled; is the ID right?")
    if as_json:
        typer.echo(json.dumps(document(findings, show_values=show_values)))
    else:
        show(findings, show_values=show_values)
    if any(finding.status in (Status.DRIFTED, Status.ERROR, Status.NO_HOME) for finding in findings):
        raise typer.Exit(EXIT_FAILURE)


def carry_out(kafka: KafkaSettings, models: ReadModels, findings: Sequence[DriftFinding]) -> bool:
    """Have the workers repair what differs; returns when they have. False: nothing differs."""
    made = list(repair_tasks(findings, by=this_user(), now_ms=int(time.time() * 1000)))
    for task in made:
        write_task(kafka, pipeline_of(kafka), task)
        typer.echo(f"task {task.id}: the workers repair what differs", err=True)
        ended = wait_with_bar(kafka, models, task, sum(map(len, task.consumers.values())))
        for said in ended_lines(task.action, ended.state, ended.progress):
            typer.echo(said, err=True)
    return bool(made)


def since_time(text: str, now: datetime) -> int:
    """The time that ``--since`` names, in ms since 1970.

    Raises:
        BadParameter: the text is neither a day nor an age.

    >>> since_time("1970-01-02", datetime.now(UTC)), since_time("2h", datetime(1970, 1, 1, 3, tzinfo=UTC))
    (86400000, 3600000)
    """
    return moment_ms(text, now, "--since")


def progress_of(console: Console) -> Progress:
    """A progress bar that counts consumers; hidden when standard error is not a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("consumers"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
