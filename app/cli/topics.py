"""`profile-sync topics`: create the program's topics, check them, or adopt a restored main topic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.cli.command_errors import EXIT_FAILURE, CommandError, report_failures
from app.cli.expiring import expiring_values
from app.cli.output import show_facts, show_table, waiting
from app.delivery.pipeline_identity import NEW_GROUP, PipelineIdentity, Role
from app.flows.adoption import Adoption, AdoptionRefused, look
from app.flows.adoption import adopt as write_adoption
from app.flows.identity import creation_problems
from app.flows.topic_problems import topic_and_state_problems
from app.kafka import topics as kafka_topics
from app.kafka.admin import Admin
from app.kafka.topic_specs import Problem
from app.kafka.topics import CreateReport
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of

topics = typer.Typer(help="Create, check or adopt the topics that this program needs.", no_args_is_help=True)

# Printed below the table of `topics adopt`.
OFFSETS_EXPLAINED = (
    "begin: the first offset that the topic still holds.",
    "end: the offset that the next record will get.",
    "upto: all events up to and including this offset are settled or parked.",
    "      The workers go on at the offset after it.",
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@topics.command()
def create(as_json: AsJson = False) -> None:
    """Create the topics that are missing. Check those that exist, without changing them.

    Creates nothing if the main topic is missing although the group has state for it, or for another topic.
    """
    with report_failures(), waiting("Asking Kafka"):
        settings = load(KafkaSettings)
        pipeline = pipeline_of(settings)
        with Admin(settings) as admin:
            problems = creation_problems(settings, pipeline, admin)
        report = CreateReport((), (), tuple(problems)) if problems else kafka_topics.create(settings, pipeline)
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
    """List every topic that is missing or wrongly configured.

    Warns 14 days before Kafka may delete the value of an open dead letter. Exits 1 if a topic is missing or wrong.
    """
    with report_failures():
        with waiting("Asking Kafka"):
            settings = load(KafkaSettings)
            pipeline = pipeline_of(settings)
            problems = topic_and_state_problems(settings, pipeline)
        unfit = {problem.topic for problem in problems if problem.setting != "retention.ms"}
        expiring = [] if pipeline.letters_topic in unfit else expiring_values(settings, pipeline)
    if as_json:
        document = {
            "problems": [asdict(problem) for problem in problems],
            "warnings": [{"topic": one.topic, "text": one.text, "remedy": one.remedy} for one in expiring],
        }
        typer.echo(json.dumps(document, indent=2))
    elif problems:
        _show(problems)
    else:
        typer.echo("All topics exist and are configured correctly.")
    if not as_json:
        show_facts("Warnings", ([("", f"{one.text}. {one.remedy}")] for one in expiring))
    if problems:
        raise typer.Exit(EXIT_FAILURE)


@topics.command()
def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bind the group's state to a restored or linked topic that holds the same records at the same offsets."""
    with report_failures():
        settings = load(KafkaSettings)
        pipeline = pipeline_of(settings)
        try:
            with waiting("Reading the state"):
                adoption = look(settings, pipeline)
            if as_json:
                typer.echo(json.dumps(_document(pipeline.group, adoption), indent=2))
            else:
                _show_adoption(pipeline.group, adoption)
            if unfit := [view for view in adoption.partitions if view.upto >= view.end]:
                numbers = ", ".join(str(view.partition) for view in unfit)
                raise CommandError(
                    f"Partition {numbers} of {pipeline.topic} ends before the settled offset, so the topic does not "
                    f"hold the same records: {NEW_GROUP}."
                )
            if not adoption.needed:
                typer.echo("The state is already bound to this topic; nothing to do.", err=as_json)
                return
            if not yes and not typer.confirm("Does the topic hold the same records at the same offsets?", err=as_json):
                raise CommandError("Nothing was changed.")
            write_adoption(settings, pipeline, adoption)
        except AdoptionRefused as error:
            raise CommandError(str(error)) from None
    typer.echo(f"The state of group {pipeline.group} is now bound to {pipeline.topic}; start its workers.", err=as_json)


def _document(group: str, adoption: Adoption) -> dict[str, Any]:
    recorded = adoption.recorded
    return {
        "group": group,
        "needed": adoption.needed,
        "from": None if recorded is None else recorded.to_json(),
        "to": adoption.running.to_json(),
        "partitions": [asdict(view) | {"trouble": view.trouble} for view in adoption.partitions],
    }


def _show_adoption(group: str, adoption: Adoption) -> None:
    recorded, running = adoption.recorded, adoption.running
    was = "names no topic" if recorded is None else _named(recorded)
    typer.echo(f"State of group {group}: {was}")
    typer.echo(f"Topic now: {_named(running)}")
    columns = ("partition", "begin", "end", "upto", "parked", "")
    show_table(
        columns,
        (
            (view.partition, view.begin, view.end, view.upto, view.parked, view.trouble or "")
            for view in adoption.partitions
        ),
        numbers=columns[:-1],
    )
    for line in OFFSETS_EXPLAINED:
        typer.echo(line)


def _named(pipeline: PipelineIdentity) -> str:
    return f"{pipeline.topic} (ID {pipeline.ids.get(Role.SOURCE, 'not known')})"


def _show(problems: Sequence[Problem]) -> None:
    if not problems:
        return
    show_table(
        ("topic", "setting", "is", "must be"),
        ((problem.topic, problem.setting, problem.found, problem.wanted) for problem in problems),
        title="Problems",
    )
    # Not wrapped, so that commands in a remedy can be copied.
    for remedy in dict.fromkeys(problem.remedy for problem in problems):
        typer.echo(remedy)
