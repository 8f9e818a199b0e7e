"""``profile-sync check``: look at everything that a worker needs before it is started, or when it does not work."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from app.cli.check_report import document, report
from app.cli.command_errors import EXIT_FAILURE
from app.cli.expiring import LETTERS_SECONDS, expiring_values
from app.cli.output import waiting
from app.delivery.installation import Part, PartState, with_expiring, wrong_parts
from app.settings import KafkaSettings, load
from app.settings.pipelines import CONSUMERS, PIPELINES


def check(
    flow: Annotated[str, typer.Option(help=f"The pipeline to check: {', '.join(PIPELINES)}.")] = CONSUMERS,
    test_incident: Annotated[
        bool, typer.Option("--test-incident", help="Open an incident in ServiceNow and resolve it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Check all that a worker needs: configuration, Kafka, Marketing Cloud, ServiceNow and this machine's clock.

    Says what is wrong and how to correct it. Only reads, apart from --test-incident, and may run beside workers.

    Exits 1 if anything is wrong. Uses the same variables as the worker.
    """
    if flow not in PIPELINES:
        raise typer.BadParameter(
            f"there is no pipeline {flow!r}; choose one of: {', '.join(PIPELINES)}", param_hint="--flow"
        )
    # Imported here, because the import takes longer than most commands take to run.
    from app.flows.installation_check import check_installation

    with waiting("Checking"):
        found = asyncio.run(check_installation(flow, test_incident=test_incident))
    lines = found.lines
    if found.pipeline is not None and any(line.part is Part.BROKER and line.state is PartState.OK for line in lines):
        lines = with_expiring(lines, expiring_values(load(KafkaSettings), found.pipeline, LETTERS_SECONDS))
    if as_json:
        typer.echo(json.dumps(document(found.pipeline, lines), indent=2))
    else:
        for line in report(lines):
            typer.echo(line)
    if wrong_parts(lines):
        raise typer.Exit(EXIT_FAILURE)
