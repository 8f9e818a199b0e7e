"""``profile-sync kpi``: the counts. They are read from Kafka, so no worker has to run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from app.cli.command_errors import report_failures
from app.cli.output import COLUMNS, show_table
from app.cli.read_once import caught_up_read_models
from app.delivery.counts import MARKETS_PER_DAY, OTHER_MARKETS
from app.delivery.errors import REGISTRY
from app.delivery.partition_record import PartitionState
from app.readmodels import kpi as kpi_rows

# The column "meaning" needs this width; a narrower one would show a word per line.
MEANING_COLUMNS = 30
# Each set holds what can be summed together. Events have an outcome, records an entity, failures an entity and a
# reason.
_OF_EVENTS = ("day", "market", "outcome")
_OF_RECORDS = ("day", "market", "entity")
_OF_FAILURES = ("day", "market", "entity", "reason")
_DIMENSIONS = ("day", "market", "outcome", "entity", "reason")


def kpi(
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="First day (UTC), such as 2026-01-31.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Last day (UTC), included.")] = None,
    market: Annotated[str | None, typer.Option(help="Count this market only.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="What to sum up by: a comma-separated list of `day`, `market` and `outcome`. With `outcome` there is "
            "a row per outcome, without it a column per outcome. `entity` counts records instead of events, `reason` "
            "counts failures by their error code; both go with `day` and `market`.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Print the number of events by outcome, per day and market, and the totals of all days."""
    try:
        chosen = kpi_rows.Filter.parse(first, last, market)
    except kpi_rows.FilterError as error:
        raise typer.BadParameter(str(error)) from None
    dimensions = _dimensions(by)
    with report_failures(), caught_up_read_models() as models:
        states = models.partitions()
        complete = models.caught_up()
    rows = _rows(states, chosen, dimensions)
    totals = kpi_rows.totals(states)
    if as_json:
        notes = kpi_rows.notes(states, chosen)
        typer.echo(json.dumps({"complete": complete, **notes, "rows": rows, "totals": totals}))
        return
    if kpi_rows.folded(states, chosen):
        typer.echo(
            f"A day has more than {MARKETS_PER_DAY} markets; the later ones count as `{OTHER_MARKETS}`.", err=True
        )
    if kpi_rows.dry_run(states):
        typer.echo("DRY RUN: these events were counted, but nothing was written to Marketing Cloud.")
    _show(rows, dimensions, totals)


def _rows(
    states: Mapping[int, PartitionState], chosen: kpi_rows.Filter, dimensions: tuple[str, ...]
) -> list[dict[str, str | int]]:
    if "reason" in dimensions:
        return kpi_rows.grouped(kpi_rows.failures(states, chosen), dimensions, ("count",))
    if "entity" in dimensions:
        return kpi_rows.grouped(kpi_rows.records(states, chosen), dimensions, ("synced", "failed"))
    return kpi_rows.summed(kpi_rows.daily(states, chosen), dimensions)


def _meanings(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """The meaning of each row's code; empty when the other columns leave too little room."""
    if "reason" not in names:
        return []
    widths = [max(len(name), *(len(row[place]) for row in cells)) for place, name in enumerate(names)]
    if sum(widths) + len(widths) > COLUMNS - MEANING_COLUMNS:
        return []
    codes = [row[names.index("reason")] for row in cells]
    return [REGISTRY[code].meaning if code in REGISTRY else "" for code in codes]


def _dimensions(by: str | None) -> tuple[str, ...]:
    if by is None:
        return ("day", "market")
    named = [name.strip() for name in by.split(",") if name.strip()]
    if not named or (unknown := sorted(set(named) - set(_DIMENSIONS))):
        raise typer.BadParameter(
            f"--by takes {', '.join(_DIMENSIONS)}; not {', '.join(unknown) if named else 'nothing'}"
        )
    if not any(set(named) <= set(together) for together in (_OF_EVENTS, _OF_RECORDS, _OF_FAILURES)):
        raise typer.BadParameter(
            "--by: outcome counts events, entity and reason count records; they cannot be combined"
        )
    return tuple(name for name in _DIMENSIONS if name in named)


def _show(rows: Sequence[dict[str, str | int]], dimensions: Sequence[str], totals: dict[str, int]) -> None:
    if rows:
        names = list(rows[0])
        cells = [[f"{value:,}" if isinstance(value, int) else value for value in row.values()] for row in rows]
        numbers = [name for name in names if name not in dimensions]
        if meanings := _meanings(names, cells):
            names = [*names, "meaning"]
            cells = [[*row, meaning] for row, meaning in zip(cells, meanings, strict=True)]
        show_table(names, cells, numbers=numbers)
    else:
        typer.echo("Nothing was counted on these days.")
    typer.echo("All days: " + ", ".join(f"{name} {number:,}" for name, number in totals.items()))
