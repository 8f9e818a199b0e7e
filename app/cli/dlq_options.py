"""The options that the `dlq` commands share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.command_errors import CommandError
from app.cli.moments import moment_ms
from app.cli.output import printable
from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import NotOneWay, SelectionError, as_filter
from app.delivery.moments import FORMS
from app.delivery.operator_task import LetterFilter
from app.readmodels import ReadModelUnavailable
from app.readmodels.cursors import CursorError
from app.readmodels.letter_texts import dead_letters


def _not_empty(context: typer.Context, option: typer.CallbackParam, value: str) -> str:
    """Refuse an empty text: an unset shell variable must not widen what a command is about."""
    source = context.get_parameter_source(option.name or "")
    if source is not None and source.name == "COMMANDLINE" and not value.strip():
        raise typer.BadParameter("it is empty; leave the option out")
    return value


AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Fingerprint = Annotated[
    str,
    typer.Option(
        callback=_not_empty,
        metavar="KIND",
        help="Of this kind: REASON:entity:operation, or the correlation ID of an incident.",
    ),
]
Reason = Annotated[str, typer.Option(callback=_not_empty, metavar="CODE", help="With this error code.")]
Market = Annotated[str, typer.Option(callback=_not_empty, metavar="MARKET", help="Of this market.")]
Operation = Annotated[str, typer.Option(callback=_not_empty, metavar="OPERATION", help="NEW, UPDATE or DELETE.")]
Entity = Annotated[
    str, typer.Option(callback=_not_empty, metavar="ENTITY", help="The entity that failed, such as consumer or pet.")
]
Consumer = Annotated[str, typer.Option(callback=_not_empty, metavar="ID", help="Of this consumer.")]
Since = Annotated[
    str, typer.Option(callback=_not_empty, metavar="TIME", help=f"Last failed at this time or later: {FORMS}.")
]
Until = Annotated[
    str, typer.Option(callback=_not_empty, metavar="TIME", help="Last failed before this time; as --since.")
]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="A dead letter's ID, such as 5-26, or its event ID.")
]
Everything = Annotated[bool, typer.Option("--all", help="All open dead letters.")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="Why. It stands in the history of each dead letter.")]
ShowValues = Annotated[
    bool, typer.Option("--show-values", help="Show values. They are personal data; that they were shown is recorded.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when the task is done.")]


def letter_filter(
    fingerprint: str, reason: str, market: str, operation: str, entity: str, consumer: str, since: str, until: str
) -> LetterFilter:
    """The filter that the options describe.

    Raises:
        BadParameter: a time is not one.
    """
    now = datetime.now(UTC)
    return as_filter(
        LetterFilter(
            fingerprint=fingerprint,
            reason=reason,
            market=market,
            operation=operation,
            entity=entity,
            consumer=consumer,
            since_ms=moment_ms(since, now, "--since") if since else None,
            until_ms=moment_ms(until, now, "--until") if until else None,
        )
    )


def tell_shown(by: str, letters: Sequence[LetterId]) -> None:
    """Say that it is recorded who saw values. The record itself was written before."""
    typer.echo(f"values were shown to {printable(by)}: {dead_letters(len(letters))}; this is recorded", err=True)


@contextmanager
def report_refusals() -> Iterator[None]:
    """Turn what the rooms below refuse into the error of a command."""
    try:
        yield
    except (SelectionError, CursorError, ReadModelUnavailable) as error:
        raise CommandError(str(error)) from None


@contextmanager
def report_wrong_use() -> Iterator[None]:
    """Turn a selection that cannot be meant into an error of usage."""
    try:
        yield
    except NotOneWay as error:
        raise typer.BadParameter(f"{error}: give IDs, filter options or --all") from None
    except SelectionError as error:
        raise typer.BadParameter(str(error)) from None
