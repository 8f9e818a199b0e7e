"""`profile-sync topics`: creates our topics, and says what is wrong with those that exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.cli.failing import EXIT_FAILURE, reported_failures
from app.kafka import topics as kafka_topics
from app.kafka.topic_specs import Problem
from app.settings import KafkaSettings, load

topics = typer.Typer(help="Create or check the topics this program needs.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@topics.command()
def create(as_json: AsJson = False) -> None:
    """Create the topics that are missing; those that exist are left as they are and checked."""
    with reported_failures():
        report = kafka_topics.create(load(KafkaSettings))
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        for name in report.created:
            typer.echo(f"created  {name}")
        for name in report.existing:
            typer.echo(f"exists   {name}")
        _show(report.problems)
    if report.problems:
        raise typer.Exit(EXIT_FAILURE)


@topics.command()
def check(as_json: AsJson = False) -> None:
    """Name every topic that is missing or not as it must be; exit 1 if there is one."""
    with reported_failures():
        problems = kafka_topics.check(load(KafkaSettings))
    if as_json:
        typer.echo(json.dumps({"problems": [asdict(problem) for problem in problems]}, indent=2))
    elif problems:
        _show(problems)
    else:
        typer.echo("All topics are there and as they must be.")
    if problems:
        raise typer.Exit(EXIT_FAILURE)


def _show(problems: Sequence[Problem]) -> None:
    if not problems:
        return
    console = Console()
    table = Table("topic", "setting", "is", "must be", title="What is wrong")
    for problem in problems:
        table.add_row(problem.topic, problem.setting, problem.found, problem.wanted)
    console.print(table)
    # Below the table, unwrapped: commands are there to be copied.
    for remedy in dict.fromkeys(problem.remedy for problem in problems):
        typer.echo(remedy)
