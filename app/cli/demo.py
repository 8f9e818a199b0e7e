"""``profile-sync demo``: run the whole system on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from app.cli.command_errors import CommandError, report_failures

# The number of partitions: a further worker would have nothing to do.
MOST_WORKERS = 8
# A shorter outage ends before its incident is opened.
SHORTEST_OUTAGE_SECONDS = 5


def demo(
    events: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of sample events to publish.", show_default="2000; 2500 with --scenario repair"
        ),
    ] = None,
    exit_when_settled: Annotated[
        bool,
        typer.Option(
            "--exit",
            help="Stop when all events are settled, and print the totals as JSON in the last line of standard output. "
            "Exit with 1 if they do not add up.",
        ),
    ] = False,
    fault_rate: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of SOAP calls that fail, 0 to 1. A tenth of these failures is permanent."
        ),
    ] = 0.0,
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="Number of workers.")] = 1,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Web port of the first worker; 0 chooses a free one.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 0,
    scenario: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="`outage`: Marketing Cloud goes down while events flow, and comes back. With --exit, also exit with 1 "
            "if the outage caused dead letters, or anything but one incident. `repair`: a column is too short for 200 "
            "consumers, and dead letters pile up. Then the column is corrected and `dlq redrive` runs them again. With "
            "--exit, also exit with 1 if a dead letter is still open, counts or order are wrong, or there is anything "
            "but one incident, which is resolved.",
        ),
    ] = None,
    outage_seconds: Annotated[
        float | None,
        typer.Option(
            min=SHORTEST_OUTAGE_SECONDS,
            max=600,
            help="Length of the outage in this scenario, in seconds.",
            show_default="30",
        ),
    ] = None,
) -> None:
    """Run broker, simulator, workers and page on this machine, with sample events, until Ctrl-C."""
    with report_failures():
        from app.demo import OUTAGE_SECONDS, REPAIR_EVENTS, SAMPLE_EVENTS, SCENARIOS, DemoFailed, DemoOptions, run_demo

        if scenario is not None and scenario not in SCENARIOS:
            raise typer.BadParameter(
                f"there is no scenario {scenario!r}; choose one of: {', '.join(SCENARIOS)}", param_hint="--scenario"
            )
        if outage_seconds is not None and scenario != "outage":
            raise typer.BadParameter("needs --scenario outage", param_hint="--outage-seconds")
        if fault_rate and scenario == "repair":
            raise typer.BadParameter("does not go with --scenario repair", param_hint="--fault-rate")
        options = DemoOptions(
            events=events or (REPAIR_EVENTS if scenario == "repair" else SAMPLE_EVENTS),
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
