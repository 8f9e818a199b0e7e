"""``profile-sync consumer``: what is known about one consumer. It is read from Kafka, so no worker has to run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from app.cli.command_errors import CommandError, report_failures
from app.cli.output import printable, show_facts
from app.cli.read_once import caught_up_read_models
from app.readmodels import Followed
from app.readmodels.consumers import ConsumerView, consumer_view


def consumer(
    consumer_id: Annotated[str, typer.Argument(metavar="ID", help="The consumerId of the events.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Print the last outcome, the parked events and the recent outcomes of one consumer.

    Exits 1 if no event of the consumer was settled or parked.
    """
    with report_failures(), caught_up_read_models(topics=(Followed.STATE, Followed.CONSUMERS)) as models:
        view = consumer_view(consumer_id, models.consumer(consumer_id), models.partitions())
        if view is None:
            raise CommandError(f"no event of consumer {printable(consumer_id)} was settled or parked; is the ID right?")
    if as_json:
        typer.echo(json.dumps(view))
    else:
        _show(view)


def _show(view: ConsumerView) -> None:
    typer.echo(f"consumer   {printable(view['consumerId'])}  (market {printable(view['market'] or 'not known')})")
    last = view["lastOutcome"] or "nothing settled yet"
    typer.echo(f"last event {printable(view['lastEventId'] or '-')}  {last} {view['lastReason'] or ''}".rstrip())
    typer.echo(f"synced at  {view['lastSyncedAt'] or 'never'}")
    show_facts(
        "Parked",
        (
            [
                ("", event["id"]),
                ("event", event["eventId"]),
                ("attempts", event["attempts"]),
                ("due", event["dueAt"] or "-"),
                ("reason", event["reason"] or "waits behind an earlier event"),
                ("first failed", event["firstFailedAt"] or "-"),
            ]
            for event in view["parked"]
        ),
    )
    show_facts(
        "Recent",
        (
            [
                ("", settled["settledAt"] or "-"),
                ("", settled["operation"]),
                ("", settled["outcome"]),
                *([("", settled["reason"])] if settled["reason"] else []),
                ("attempts", settled["attempts"]),
                ("event", settled["eventId"]),
            ]
            for settled in view["recent"]
        ),
    )
