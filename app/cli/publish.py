"""``profile-sync publish``: publish events from a file to the main topic."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.cli.command_errors import EXIT_FAILURE, report_failures
from app.cli.input_file import open_input
from app.flows.catalog import load_catalog
from app.flows.publishing import publish_lines
from app.flows.task_writing import this_user
from app.profile.event_lines import RejectedLine
from app.settings import DataExtensionSettings, KafkaSettings, load
from app.settings.pipelines import pipeline_of

# The progress bar is redrawn after this many lines: drawing it takes longer than publishing one.
LINES_PER_REDRAW = 50


def publish(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="JSON lines, one JSON event, or an array of events. - or no FILE reads standard input.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document: published, redrives, rejected.")] = False,
) -> None:
    """Check events and publish the valid ones, with consumerId as the key; report the others.

    Exits 1 if a line was rejected. Needs KAFKA_*, and CMT_DATA_EXTENSIONS if the data extensions are not the bundled
    ones.
    """
    with report_failures():
        kafka = load(KafkaSettings)
        catalog = load_catalog(load(DataExtensionSettings).data_extensions)
        with open_input(file) as stream, _progress(shown=not as_json) as progress:
            size = stream.seek(0, os.SEEK_END) if stream.seekable() else None
            if size is not None:
                stream.seek(0)
            task = progress.add_task("publishing", total=size, lines=0)

            def report(line: RejectedLine) -> None:
                progress.console.print(
                    f"line {line.line}: {line.code}: {line.reason}", markup=False, highlight=False, soft_wrap=True
                )

            def show(line: int) -> None:
                if line % LINES_PER_REDRAW == 0:
                    progress.update(task, completed=stream.tell() if size is not None else 0, lines=line)

            topic = pipeline_of(kafka).topic
            result = publish_lines(stream, catalog, kafka, topic, by=this_user(), on_rejected=report, on_line=show)
    if as_json:
        rejected = [asdict(line) for line in result.rejected]
        told = {"published": result.published, "redrives": result.redrives, "rejected": rejected}
        typer.echo(json.dumps({**told, "stoppedAfter": result.stopped_after}))
    else:
        typer.echo(f"published {result.published}, rejected {len(result.rejected)}")
        if result.redrives:
            what = "is an exported dead letter" if result.redrives == 1 else "are exported dead letters"
            typer.echo(f"{result.redrives} of them {what}: workers redrive those that are still open.")
    if result.stopped_after is not None:
        typer.echo(
            f"Stopped after line {result.stopped_after}: Kafka accepts no more events. When it does again, publish the "
            f"rejected lines and all lines after line {result.stopped_after}, in their order.",
            err=True,
        )
    if result.rejected:
        raise typer.Exit(EXIT_FAILURE)


def _progress(*, shown: bool) -> Progress:
    console = Console(stderr=True)
    # Without a terminal there is no progress bar, and reports are plain lines.
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[lines]} lines"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
