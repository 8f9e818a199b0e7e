"""``profile-sync consumer``: what is known about one consumer, or which consumers' last event ended with an outcome.

It is read from Kafka, so no worker has to run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from app.flows.event_consumer import consumers_of_event
from app.readmodels import Followed, ReadModels
from app.readmodels.consumer_index import MOST_LISTED, PAGE, ConsumerPage
from app.readmodels.consumers import ConsumerView, consumer_view, ended_page_view, without_history
from app.readmodels.letter_texts import more_lines
from app.readmodels.letter_views import with_dead_letters
from app.readmodels.letters import PAGE as SHOWN
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of


def consumer(
    consumer_id: Annotated[str | None, typer.Argument(metavar="ID", help="The consumerId of the events.")] = None,
    event: Annotated[
        str | None,
        typer.Option(metavar="EVENT", help="The consumer of this event: its position, such as 5-26, or its event ID."),
    ] = None,
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
    """Print the last outcome, the parked events, the recent outcomes and the dead letters of one consumer.

    With --outcome, list the consumers whose last event ended so, with what failed; the newest first.

    Exits 1 if the consumer or the event is not known. Needs KAFKA_* only.
    """
    if [consumer_id is not None, event is not None, outcome is not None].count(True) != 1:
        raise typer.BadParameter("give exactly one of a consumer ID, --event and --outcome")
    if outcome is not None:
        _list(outcome, moment_ms(since, datetime.now(UTC), "--since") if since else None, limit, cursor, as_json)
    elif since or cursor is not None:
        raise typer.BadParameter("--since and --cursor go with --outcome")
    else:
        _show_one(consumer_id, event, as_json)


def _show_one(consumer_id: str | None, event: str | None, as_json: bool) -> None:
    topics = (Followed.STATE, Followed.CONSUMERS, Followed.LETTERS)
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=topics) as models:
        if consumer_id is None:
            consumer_id = _consumer_of(models, event or "")
        known = consumer_view(consumer_id, models.consumer(consumer_id), models.partitions())
        letters = models.letters.of_consumer(consumer_id)
        if known is None and not letters:
            raise CommandError(f"no event of consumer {printable(consumer_id)} was settled or parked; is the ID right?")
    if as_json:
        typer.echo(json.dumps(with_dead_letters(consumer_id, known, letters)))
        return
    _show(known or without_history(consumer_id))
    _show_letters(letters)


def _consumer_of(models: ReadModels, event: str) -> str:
    kafka = load(KafkaSettings)
    found = consumers_of_event(kafka, pipeline_of(kafka), models, event)
    if len(found) > 1:
        raise CommandError(
            f"Event {printable(event)} belongs to several consumers: {', '.join(map(printable, found[:10]))}. "
            "Name one of them: profile-sync consumer ID"
        )
    if not found:
        raise CommandError(
            f"The consumer of event {printable(event)} is not known. An event ID is known while the event is parked, "
            "has a dead letter or is among its consumer's last events. A position, such as 5-26, is known while the "
            "main topic holds the event."
        )
    return found[0]


def _show_letters(letters: Sequence[ListedLetter]) -> None:
    show_facts(
        "Dead letters",
        (
            [
                ("", one.id),
                ("", one.status.value),
                ("", one.letter.settlement.operation),
                ("", one.letter.fingerprint.entity),
                ("", one.letter.fingerprint.reason),
                ("failed", clock(one.letter.last_failed_ms)),
                ("event", one.letter.settlement.event_id),
            ]
            for one in letters
        ),
    )
    if len(letters) == SHOWN:
        typer.echo("There may be more: profile-sync dlq list --status all --consumer ID")


def _list(outcome: Outcome, since_ms: int | None, limit: int, cursor: str | None, as_json: bool) -> None:
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=(Followed.CONSUMERS,)) as models:
        page = models.consumers.ended(outcome, since_ms, limit=limit, cursor=cursor)
    if as_json:
        typer.echo(json.dumps(ended_page_view(page)))
        return
    since = "" if since_ms is None else f" since {clock(since_ms)}"
    if not page.items:
        typer.echo(f"No consumer's last event ended as {outcome}{since}.")
        return
    number = f"{len(page.items):,}" + (" or more" if page.next is not None or cursor is not None else "")
    typer.echo(f"{number} consumer{'' if number == '1' else 's'} ended as {outcome}{since}:")
    typer.echo("  consumer, settled, market, operation, entity and reason of the failure")
    _show_ended(page)
    if outcome is Outcome.PARTIAL:
        typer.echo("When the cause is gone, write the missing rows:\n  profile-sync verify --repair --outcome partial")
    if page.next is not None:
        for line in more_lines("There are more.", page.next):
            typer.echo(line, err=True)


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
