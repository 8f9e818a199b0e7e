"""``profile-sync consumer``: what is known of one consumer, read from Kafka; no worker has to run."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from app.cli.failing import CommandError, reported_failures
from app.cli.read_once import read_models_at_end
from app.readmodels.consumers import ConsumerView, consumer_view


def consumer(
    consumer_id: Annotated[str, typer.Argument(metavar="ID", help="The consumerId of the events.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Print the last state, parked events and recent outcomes of one consumer; exit 1 if it was never seen."""
    with reported_failures(), read_models_at_end() as models:
        view = consumer_view(consumer_id, models.consumer(consumer_id), models.partitions())
        if view is None:
            raise CommandError(f"no event of consumer {consumer_id} was settled or parked; is the ID right?")
    if as_json:
        typer.echo(json.dumps(view))
    else:
        _show(view)


def _show(view: ConsumerView) -> None:
    console = Console()
    typer.echo(f"consumer   {view['consumerId']}  (market {view['market'] or 'not known'})")
    last = view["lastOutcome"] or "nothing settled yet"
    typer.echo(f"last event {view['lastEventId'] or '-'}  {last} {view['lastReason'] or ''}".rstrip())
    typer.echo(f"synced at  {view['lastSyncedAt'] or 'never'}")
    if view["parked"]:
        parked = Table("id", "event", "attempts", "due", "reason", "first failed", title="Parked", box=box.SIMPLE_HEAD)
        for event in view["parked"]:
            parked.add_row(
                event["id"],
                event["eventId"],
                str(event["attempts"]),
                event["dueAt"] or "-",
                event["reason"] or "waits behind an earlier event",
                event["firstFailedAt"] or "-",
            )
        console.print(parked)
    if view["recent"]:
        recent = Table("settled", "event", "operation", "outcome", "reason", "attempts", box=box.SIMPLE_HEAD)
        recent.title = "Recent"
        for settled in view["recent"]:
            recent.add_row(
                settled["settledAt"] or "-",
                settled["eventId"],
                settled["operation"],
                settled["outcome"],
                settled["reason"] or "",
                str(settled["attempts"]),
            )
        console.print(recent)
