"""``profile-sync kpi``: the counts, read from Kafka; no worker has to run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from app.cli.failing import reported_failures
from app.cli.read_once import read_models_at_end
from app.domain.counts import MARKETS_PER_DAY, OTHER_MARKETS
from app.readmodels import kpi as kpi_rows

_DIMENSIONS = ("day", "market", "outcome")


def kpi(
    first: Annotated[str | None, typer.Option("--from", metavar="DAY", help="First day, UTC: 2026-01-31.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day, included.")] = None,
    market: Annotated[str | None, typer.Option(help="One market only.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="day,market,outcome",
            help="Sum up by these, separated by commas. With `outcome` each row has one outcome and its number of "
            "`events`, without it a column per outcome.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Print how many events ended how, per day and market, and the totals of all days."""
    try:
        chosen = kpi_rows.Filter.parse(first, last, market)
    except kpi_rows.FilterError as error:
        raise typer.BadParameter(str(error)) from None
    dimensions = _dimensions(by)
    with reported_failures(), read_models_at_end() as models:
        states = models.partitions()
        complete = models.caught_up()
    rows = kpi_rows.summed(kpi_rows.daily(states, chosen), dimensions)
    if as_json:
        note = {"folded": True} if kpi_rows.folded(states, chosen) else {}
        note |= {"dryRun": True} if kpi_rows.dry_run(states) else {}
        typer.echo(json.dumps({"complete": complete, **note, "rows": rows}))
        return
    if kpi_rows.folded(states, chosen):
        typer.echo(
            f"More than {MARKETS_PER_DAY} markets on a day: the later ones count as `{OTHER_MARKETS}`.", err=True
        )
    if kpi_rows.dry_run(states):
        typer.echo("DRY RUN: these events were counted, but nothing was written to Marketing Cloud.")
    _show(rows, dimensions, kpi_rows.totals(states))


def _dimensions(by: str | None) -> tuple[str, ...]:
    if by is None:
        return ("day", "market")
    named = [name.strip() for name in by.split(",") if name.strip()]
    if not named or (unknown := sorted(set(named) - set(_DIMENSIONS))):
        raise typer.BadParameter(
            f"--by takes {', '.join(_DIMENSIONS)}; not {', '.join(unknown) if named else 'nothing'}"
        )
    return tuple(name for name in _DIMENSIONS if name in named)


def _show(rows: Sequence[dict[str, Any]], dimensions: Sequence[str], totals: dict[str, int]) -> None:
    console = Console()
    if rows:
        table = Table(box=box.SIMPLE_HEAD)
        for name in rows[0]:
            table.add_column(name, justify="left" if name in dimensions else "right")
        for row in rows:
            table.add_row(*(f"{value:,}" if isinstance(value, int) else value for value in row.values()))
        console.print(table)
    else:
        typer.echo("No event was settled in these days.")
    typer.echo("All days: " + ", ".join(f"{name} {number:,}" for name, number in totals.items()))
