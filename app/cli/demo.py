"""``profile-sync demo``: the whole system on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from app.cli.failing import CommandError, reported_failures

# More than there are partitions would have nothing to do.
MOST_WORKERS = 8
# A shorter outage is over before there is an incident.
SHORTEST_OUTAGE_SECONDS = 5


def demo(
    events: Annotated[int, typer.Option(min=1, help="How many sample events are published.")] = 2000,
    exit_when_settled: Annotated[
        bool,
        typer.Option(
            "--exit",
            help="Stop when all are settled; the totals are the last line of standard output, as JSON. Exit code 1 if "
            "they do not add up.",
        ),
    ] = False,
    fault_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of SOAP calls that fail, a tenth of them for good.")
    ] = 0.0,
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="How many workers share the work.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Web port of the first worker; 0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 0,
    scenario: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="`outage`: Marketing Cloud goes down while events flow, and comes back. With --exit, exit code 1 "
            "also if that led to dead letters or not to exactly one incident.",
        ),
    ] = None,
    outage_seconds: Annotated[
        float | None,
        typer.Option(
            min=SHORTEST_OUTAGE_SECONDS,
            max=600,
            help="How long the outage of that scenario lasts.",
            show_default="30",
        ),
    ] = None,
) -> None:
    """Broker, simulator, workers and page on this machine, with sample events, until Ctrl-C."""
    with reported_failures():
        from app.demo import OUTAGE_SECONDS, SCENARIOS, DemoFailed, DemoOptions, run_demo

        if scenario is not None and scenario not in SCENARIOS:
            raise typer.BadParameter(
                f"there is no {scenario!r}; scenarios: {', '.join(SCENARIOS)}", param_hint="--scenario"
            )
        if outage_seconds is not None and scenario != "outage":
            raise typer.BadParameter("goes with --scenario outage only", param_hint="--outage-seconds")
        options = DemoOptions(
            events=events,
            exit_when_settled=exit_when_settled,
            fault_rate=fault_rate,
            workers=workers,
            web_port=port,
            seed=seed,
            scenario=scenario,
            outage_seconds=OUTAGE_SECONDS if outage_seconds is None else outage_seconds,
        )
        try:
            # With --exit, standard output is for the totals.
            result = run_demo(options, Console(stderr=exit_when_settled))
        except DemoFailed as error:
            raise CommandError(str(error)) from error
    if exit_when_settled and result.report is not None:
        typer.echo(json.dumps(result.report))
    raise typer.Exit(result.exit_code)
