"""``profile-sync consumer``: what is known about one consumer, or which consumers' last event ended with an outcome.

It is read from Kafka, so no worker has to run.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli import dlq_options as options
from app.cli.command_errors import CommandError, report_failures
from app.cli.moments import moment_ms
from app.cli.output import printable, show_facts
from app.cli.read_once import caught_up_read_models
from app.delivery.moments import FORMS
from app.delivery.outcome import Outcome
from app.delivery.wording import clock
from app.readmodels import Followed
from app.readmodels.consumer_index import MOST_LISTED, PAGE, ConsumerPage
from app.readmodels.consumers import ConsumerView, consumer_view, ended_page_view


def consumer(
    consumer_id: Annotated[str | None, typer.Argument(metavar="ID", help="The consumerId of the events.")] = None,
    outcome: Annotated[
        Outcome | None,
        typer.Option(
            metavar="OUTCOME",
            help="List the consumers whose last event ended so: synced, partial, failed, invalid, superseded or "
            "discarded.",
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            metavar="TIME", help=f"With --outcome: the last event was settled at this time or later: {FORMS}."
        ),
    ] = "",
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_LISTED, help="With --outcome: the most to show.")
    ] = PAGE,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="With --outcome: go on where a list ended.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the last outcome, the parked events and the recent outcomes of one consumer.

    With --outcome, list the consumers whose last event ended so, with what failed; the newest first. Exits 1 if no
    event of the consumer was settled or parked. Needs KAFKA_* only.
    """
    if (consumer_id is None) == (outcome is None):
        raise typer.BadParameter("give either a consumer ID or --outcome")
    if outcome is not None:
        _list(outcome, moment_ms(since, datetime.now(UTC), "--since") if since else None, limit, cursor, as_json)
    elif since or cursor is not None:
        raise typer.BadParameter("--since and --cursor go with --outcome")
    elif consumer_id is not None:
        _show_one(consumer_id, as_json)


def _show_one(consumer_id: str, as_json: bool) -> None:
    with report_failures(), caught_up_read_models(topics=(Followed.STATE, Followed.CONSUMERS)) as models:
        view = consumer_view(consumer_id, models.consumer(consumer_id), models.partitions())
        if view is None:
            raise CommandError(f"no event of consumer {printable(consumer_id)} was settled or parked; is the ID right?")
    if as_json:
        typer.echo(json.dumps(view))
    else:
        _show(view)


def _list(outcome: Outcome, since_ms: int | None, limit: int, cursor: str | None, as_json: bool) -> None:
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=(Followed.CONSUMERS,)) as models:
        page = models.consumers.ended(outcome, since_ms, limit=limit, cursor=cursor)
    if as_json:
        typer.echo(json.dumps(ended_page_view(page)))
        return
    _show_ended(page)
    if not page.items:
        since = "" if since_ms is None else f" since {clock(since_ms)}"
        typer.echo(f"No consumer's last event ended as {outcome}{since}.")
    elif page.next is not None:
        typer.echo(f"There are more: --cursor {page.next}", err=True)


def _show_ended(page: ConsumerPage) -> None:
    show_facts(
        None,
        (
            [
                ("", one.consumer_id),
                ("", clock(one.last.settled_ms)),
                ("", one.market),
                ("", one.last.operation),
                *([("", one.last.entity)] if one.last.entity else []),
                *([("", one.last.reason)] if one.last.reason else []),
            ]
            for one in page.items
        ),
    )


def _show(view: ConsumerView) -> None:
    typer.echo(f"consumer   {printable(view['consumerId'])}  (market {printable(view['market'] or 'not known')})")
    last = view["lastOutcome"] or "nothing settled yet"
    failed = " ".join(filter(None, (view["lastEntity"], view["lastReason"])))
    typer.echo(f"last event {printable(view['lastEventId'] or '-')}  {last} {printable(failed)}".rstrip())
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
                *([("", settled["entity"])] if settled["entity"] else []),
                *([("", settled["reason"])] if settled["reason"] else []),
                ("attempts", settled["attempts"]),
                ("event", settled["eventId"]),
            ]
            for settled in view["recent"]
        ),
    )
