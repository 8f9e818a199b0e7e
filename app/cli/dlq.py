"""``profile-sync dlq``: look at dead letters. They are read from Kafka, so no worker has to run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer

from app.cli import dlq_options as options
from app.cli.command_errors import CommandError, report_failures
from app.cli.dlq_tasks import cancel, pause, resume, tasks
from app.cli.dlq_write import discard, redrive
from app.cli.output import printable
from app.cli.read_once import caught_up_read_models
from app.readmodels import Followed
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letter_texts import NO_DEAD_LETTERS, dead_letters, detail_lines, list_lines, stats_lines
from app.readmodels.letter_views import detail_view, group_view, letter_view, page_view
from app.readmodels.letters import ANY_STATUS, MOST_LISTED, OPEN_ONES, PAGE

dlq = typer.Typer(help="Look at dead letters; redrive, discard or edit them.", no_args_is_help=True)

# The read models that lists and details need.
LETTERS = (Followed.LETTERS, Followed.STATE)


class Status(StrEnum):
    """What ``--status`` takes."""

    OPEN = "open"
    REDRIVING = "redriving"
    SETTLED = "settled"
    DISCARDED = "discarded"
    ALL = "all"


@dlq.command()
def stats(
    fingerprint: options.Fingerprint = "",
    reason: options.Reason = "",
    market: options.Market = "",
    operation: options.Operation = "",
    entity: options.Entity = "",
    consumer: options.Consumer = "",
    since: options.Since = "",
    until: options.Until = "",
    as_json: options.AsJson = False,
) -> None:
    """Show the open dead letters by kind: how many, since when, what the code means and what to do.

    Needs KAFKA_* only.
    """
    chosen = options.letter_filter(fingerprint, reason, market, operation, entity, consumer, since, until)
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=LETTERS) as models:
        groups = models.letters.groups(chosen)
    if as_json:
        typer.echo(json.dumps({"items": [group_view(group) for group in groups]}))
    else:
        _print(stats_lines(groups, int(time.time() * 1000)))


@dlq.command("list")
def list_letters(
    fingerprint: options.Fingerprint = "",
    reason: options.Reason = "",
    market: options.Market = "",
    operation: options.Operation = "",
    entity: options.Entity = "",
    consumer: options.Consumer = "",
    since: options.Since = "",
    until: options.Until = "",
    status: Annotated[
        list[Status] | None,
        typer.Option(
            metavar="STATUS", help="open, redriving, settled, discarded or all; without it, open and redriving."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=MOST_LISTED, help="The most to show.")] = PAGE,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where a list of the same filter ended.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List dead letters, the newest failure first.

    Needs KAFKA_* only.
    """
    chosen = options.letter_filter(fingerprint, reason, market, operation, entity, consumer, since, until)
    statuses = _statuses(status or [])
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=LETTERS) as models:
        page = models.letters.page(chosen, statuses, limit=limit, cursor=cursor)
        total = models.letters.count(chosen, statuses)
    if as_json:
        typer.echo(json.dumps(page_view(page)))
        return
    if not page.items:
        nothing = chosen.is_empty and statuses == OPEN_ONES
        typer.echo(NO_DEAD_LETTERS if nothing else "No dead letter matches.")
        return
    _print(list_lines(page.items))
    if page.next is not None:
        typer.echo(f"{dead_letters(total)} in all. More: --cursor {page.next}", err=True)


@dlq.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="A dead letter's ID, such as 5-26, or its event ID.")],
    as_json: options.AsJson = False,
) -> None:
    """Show everything that is known of one dead letter.

    If an event ID has several dead letters, they are listed. Needs KAFKA_* only.
    """
    topics = (*LETTERS, Followed.TASKS)
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=topics) as models:
        found = models.letters.find(letter)
        if not found:
            raise CommandError(
                f"no dead letter has the ID or event ID {letter}. profile-sync dlq list shows the open ones; settled "
                "ones are forgotten after DLQ_KEEP_DAYS."
            )
        edit = models.tasks.edit(found[0].id)
    if len(found) > 1:
        if as_json:
            typer.echo(json.dumps({"items": [letter_view(one) for one in found], "next": None}))
        else:
            typer.echo(f"{dead_letters(len(found))} of event {printable(letter)}:")
            _print(list_lines(found))
    elif as_json:
        typer.echo(json.dumps(detail_view(found[0], edit)))
    else:
        _print(detail_lines(found[0], edit))


dlq.command()(redrive)
dlq.command()(discard)
dlq.command()(tasks)
dlq.command()(pause)
dlq.command()(resume)
dlq.command()(cancel)


def _statuses(given: Iterable[Status]) -> frozenset[ShownStatus]:
    chosen = frozenset(given)
    if not chosen:
        return OPEN_ONES
    return ANY_STATUS if Status.ALL in chosen else frozenset(ShownStatus(one.value) for one in chosen)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(printable(line))
