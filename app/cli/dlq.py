"""``profile-sync dlq``: look at dead letters. They are read from Kafka, so no worker has to run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer

from app.cli import dlq_options as options
from app.cli.command_errors import EXIT_FAILURE, CommandError, report_failures
from app.cli.dlq_edit import edit
from app.cli.dlq_tasks import cancel, pause, resume, tasks
from app.cli.dlq_write import discard, redrive
from app.cli.output import printable
from app.cli.read_once import caught_up_read_models
from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import check_kinds
from app.delivery.operator_task import Selection
from app.flows.letter_export import export_letters, read_shown_values
from app.flows.task_writing import resolve, this_user
from app.readmodels import Followed
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letter_texts import (
    NO_DEAD_LETTERS,
    dead_letters,
    detail_lines,
    list_lines,
    more_lines,
    nothing_matches,
    stats_lines,
)
from app.readmodels.letter_value_texts import value_lines, value_view
from app.readmodels.letter_views import detail_view, group_view, letter_view, page_view
from app.readmodels.letters import ANY_STATUS, MOST_LISTED, OPEN_ONES, PAGE
from app.settings import KafkaSettings, load
from app.settings.pipelines import pipeline_of

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
        models.letters.check(chosen)
        groups = models.letters.groups(chosen)
        number_open = models.letters.count()
    if as_json:
        typer.echo(json.dumps({"items": [group_view(group) for group in groups]}))
    elif not groups and not chosen.is_empty:
        typer.echo(nothing_matches(number_open))
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
        models.letters.check(chosen)
        page = models.letters.page(chosen, statuses, limit=limit, cursor=cursor)
        total, number_open = models.letters.count(chosen, statuses), models.letters.count()
    if as_json:
        typer.echo(json.dumps(page_view(page)))
        return
    if not page.items:
        nothing = chosen.is_empty and statuses == OPEN_ONES
        typer.echo(NO_DEAD_LETTERS if nothing else nothing_matches(number_open))
        return
    _print(list_lines(page.items))
    if page.next is not None:
        for line in more_lines(f"{dead_letters(total)} in all.", page.next):
            typer.echo(line, err=True)


@dlq.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="A dead letter's ID, such as 5-26, or its event ID.")],
    show_values: options.ShowValues = False,
    as_json: options.AsJson = False,
) -> None:
    """Show everything that is known of one dead letter.

    If an event ID has several dead letters, they are listed. Values are masked. Needs KAFKA_* only.
    """
    # A value is shown only after the consumer's record was asked whether the profile was deleted since.
    topics = (*LETTERS, Followed.TASKS, *([Followed.CONSUMERS] if show_values else []))
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=topics) as models:
        found = models.letters.find(letter)
        if not found:
            raise CommandError(
                f"no dead letter has the ID or event ID {letter}. profile-sync dlq list shows the open ones; settled "
                "ones are forgotten after DLQ_KEEP_DAYS."
            )
        if len(found) == 1:
            [one] = found
            edited = models.tasks.edit(one.id)
            kafka = load(KafkaSettings)
            seen_by = this_user() if show_values else None
            shown = read_shown_values(kafka, pipeline_of(kafka), models, one, seen_by=seen_by)
            if seen_by is not None and shown.event is not None:
                options.tell_shown(seen_by, [one.id])
    if len(found) > 1:
        if as_json:
            typer.echo(json.dumps({"items": [letter_view(each) for each in found], "next": None}))
        else:
            typer.echo(f"{dead_letters(len(found))} of event {printable(letter)}:")
            _print(list_lines(found))
        return
    if as_json:
        typer.echo(json.dumps(detail_view(one, edited) | value_view(shown)))
    else:
        _print(detail_lines(one, edited))
        _print(value_lines(shown))


@dlq.command()
def export(
    ids: options.Ids = None,
    fingerprint: options.Fingerprint = "",
    reason: options.Reason = "",
    market: options.Market = "",
    operation: options.Operation = "",
    entity: options.Entity = "",
    consumer: options.Consumer = "",
    since: options.Since = "",
    until: options.Until = "",
    everything: options.Everything = False,
    show_values: options.ShowValues = False,
) -> None:
    """Print open dead letters as JSON lines, with their key, value, headers and source position.

    Values are masked, and publish refuses masked lines. With --show-values, publish takes the lines and sends each
    event again as a redrive. Exits 1 if the bytes of one are gone. Needs KAFKA_* only.
    """
    chosen = options.letter_filter(fingerprint, reason, market, operation, entity, consumer, since, until)
    with options.report_wrong_use():
        check_kinds(ids or [], chosen, everything=everything)
    topics = (*LETTERS, Followed.TASKS, *([Followed.CONSUMERS] if show_values else []))
    left_out, shown = list[LetterId](), list[LetterId]()
    seen_by = this_user() if show_values else None
    with report_failures(), options.report_refusals(), caught_up_read_models(topics=topics) as models:
        models.letters.check(chosen)
        selection = resolve(models, ids) if ids else Selection(filter=chosen)
        number_open = models.letters.count()
        kafka = load(KafkaSettings)
        for letter, line in export_letters(kafka, pipeline_of(kafka), models, selection, seen_by=seen_by):
            if line is None:
                left_out.append(letter)
                continue
            shown.append(letter)
            typer.echo(line)
    if seen_by is not None and shown:
        options.tell_shown(seen_by, shown)
    if not shown and not left_out:
        typer.echo(NO_DEAD_LETTERS if everything else nothing_matches(number_open), err=True)
    if left_out:
        some = ", ".join(map(str, left_out[:10]))
        typer.echo(f"Left out, because their bytes are gone or not shown: {len(left_out):,} ({some})", err=True)
        raise typer.Exit(EXIT_FAILURE)


dlq.command()(redrive)
dlq.command()(discard)
dlq.command()(edit)
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
