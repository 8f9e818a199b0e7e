"""``profile-sync status``: one screen for the person on call. It is read from Kafka, so no worker has to run."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Annotated

import typer

from app.cli.command_errors import EXIT_FAILURE, report_failures
from app.cli.expiring import LETTERS_SECONDS, expiring_values
from app.cli.output import waiting
from app.cli.read_once import caught_up_read_models
from app.cli.status_report import PipelineView, document, lines
from app.delivery.cluster_facts import Facts
from app.delivery.cluster_status import judge
from app.delivery.pipeline import Pipeline
from app.flows.identity import creation_problems
from app.flows.status_records import is_ours, open_incidents, read_last_end, read_workers
from app.kafka.admin import Admin
from app.kafka.group_lag import Lag, NoSuchTopic, group_lag
from app.readmodels.status_topic import read_status_once
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of

# For reading the status topic. The topic is small, but the broker may be slow.
READ_SECONDS = 15.0


def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Show the state of the pipeline: workers, lag, parked events, accounts, dead letters, today's counts.

    Exits 1 if something needs a person. Needs KAFKA_* only.
    """
    with report_failures():
        kafka = load(KafkaSettings)
        pipeline = pipeline_of(kafka)
        with waiting("Asking Kafka"):
            lag, gone = _lag(kafka, pipeline)
            records = read_status_once(kafka, pipeline, is_ours, READ_SECONDS)
        with caught_up_read_models() as models:
            partitions, complete = models.partitions(), models.caught_up()
        expiring = expiring_values(kafka, pipeline, LETTERS_SECONDS)
    now_ms = int(time.time() * 1000)
    letters: Counter[str] = Counter()
    for state in partitions.values():
        letters.update(state.dead_letters)
    facts = Facts(
        workers=sorted(read_workers(records).values(), key=lambda worker: worker.worker),
        partitions=list(lag) or range(kafka.partitions),
        incidents=open_incidents(records),
        dead_letters={reason: number for reason, number in letters.items() if number},
        complete=complete,
        topic_gone=gone,
        dead_letter_topic=pipeline.dlq_topic,
        expiring=expiring,
        last_end=read_last_end(records),
        waiting_since_ms=min((one.since_ms for one in lag.values() if one.since_ms is not None), default=None),
    )
    view = PipelineView(
        topic=pipeline.topic,
        group=pipeline.group,
        facts=facts,
        judgement=judge(facts, now_ms),
        lag=sum(one.records for one in lag.values()),
        partitions=partitions,
        now_ms=now_ms,
    )
    if as_json:
        typer.echo(json.dumps(document(view)))
    else:
        for line in lines(view):
            typer.echo(line)
    if view.judgement.needs_a_person:
        raise typer.Exit(EXIT_FAILURE)


def _lag(kafka: KafkaSettings, pipeline: Pipeline) -> tuple[dict[int, Lag], str | None]:
    """The group's lag by partition; or no lag and a remedy, when the main topic is missing but its state is not."""
    try:
        return group_lag(kafka, pipeline), None
    except NoSuchTopic:
        with Admin(kafka) as admin:
            problems = creation_problems(kafka, pipeline, admin)
        if not problems:
            raise
        return {}, problems[0].remedy
