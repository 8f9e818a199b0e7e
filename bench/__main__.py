"""``python -m bench [NAME]`` runs one measurement; without a name, all except the profile."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.broker.distribution import BrokerStartError
from app.kafka.admin import KafkaAccessError
from bench import client_calls, hot_paths, profiling, report, rows, side_by_side, soap_clients, update_calls
from bench import letters as dead_letters
from bench import memory as memory_use
from bench.measured import NotDone
from bench.site import IN_FLIGHT, site
from bench.stub import ceiling, stub

program = typer.Typer(add_completion=False, help="Measurements on this machine; every process is ended afterwards.")
_console = Console(width=140)
_errors = Console(stderr=True)

Events = Annotated[int, typer.Option(min=400, help="Events of a row; fast rows get more, slow ones fewer.")]
Repeat = Annotated[int, typer.Option(min=1, help="Rounds over all rows; the median counts.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write everything to this file, as JSON.")]


@program.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Run all measurements with their defaults, unless one is named."""
    if context.invoked_subcommand is None:
        paths()
        engines()
        clients()
        updates()
        letters()
        memory()


@program.command()
def paths(seconds: Annotated[float, typer.Option(min=0.1, help="How long each path is measured.")] = 1.0) -> None:
    """Measure the hot paths one by one, on one core."""
    table = Table("one core", "per second", "CPU, microseconds each")
    table.columns[1].justify = table.columns[2].justify = "right"
    for measured in (*hot_paths.run(seconds), client_calls.run(max(seconds, 2.0))):
        table.add_row(measured.what, f"{measured.per_second:,.0f}", f"{measured.cpu_us:,.0f}")
    _console.print(table)


@program.command()
def engines(
    names: Annotated[
        list[str] | None, typer.Argument(help="Rows: a letter or a name such as b50; all without.")
    ] = None,
    events: Events = rows.EVENTS,
    repeat: Repeat = 3,
    output: Json = None,
) -> None:
    """Compare the engine with other programs that do the same, on one backlog and one target."""
    chosen = rows.selected(names or [])
    done: list[side_by_side.Run] = []
    with site() as where, stub(where.folder) as target:
        ceilings = {f"{latency} ms": ceiling(target, latency, IN_FLIGHT) for latency in (0, 5, 50)}
        for run in side_by_side.runs(where, target, chosen, events, repeat, _say):
            done.append(run)
            _say(f"  {run.events_per_second:,.0f} events/s, {run.cpu_ms_per_event:.2f} CPU-ms each {run.trouble}")
    summaries = report.summarise(chosen, done)
    _console.print(report.table(summaries))
    shown = ", ".join(f"{speed:,.0f}/s at {latency}" for latency, speed in ceilings.items())
    _console.print(f"The HTTP stub alone, {IN_FLIGHT} connections: {shown}.")
    for summary in summaries:
        for trouble in summary.troubles:
            _console.print(f"{summary.row.name}: {escape(trouble)}")
    _console.print(report.target_table(report.targets(summaries)))
    _finish(report.as_json(summaries, done, ceilings), output)


@program.command()
def clients(
    repeat: Annotated[int, typer.Option(min=1, help="Rounds over all clients; the median counts.")] = 3,
    output: Json = None,
) -> None:
    """Compare SOAP clients on one core, all against the same static answer."""
    speeds = soap_clients.run(repeat)
    _console.print(soap_clients.table(speeds))
    found = list(soap_clients.targets(speeds))
    _console.print(report.target_table(found))
    _finish({"clients": [asdict(speed) for speed in speeds], "targets": [asdict(target) for target in found]}, output)


@program.command()
def updates(
    count: Annotated[int, typer.Option(min=1, help="UPDATEs of each kind; the median counts.")] = update_calls.UPDATES,
    output: Json = None,
) -> None:
    """Measure the calls and the time of one UPDATE of a typical consumer, by strategy."""
    costs = update_calls.run(count)
    _console.print(update_calls.table(costs))
    found = update_calls.targets(costs)
    _console.print(report.target_table(found))
    _finish({"updates": [asdict(cost) for cost in costs], "targets": [asdict(target) for target in found]}, output)


@program.command()
def memory(
    backlog: Annotated[int, typer.Option(min=0, help="Events that wait; 0 leaves this part out.")] = 1_000_000,
    consumers: Annotated[int, typer.Option(min=0, help="Consumers known; 0 leaves this part out.")] = 1_000_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long a worker is watched.")] = 60.0,
    output: Json = None,
) -> None:
    """Measure how much memory a worker needs for a long backlog and for very many consumers."""
    found: dict[str, Any] = {}
    with site() as where, stub(where.folder) as target:
        if backlog:
            _say(f"a worker before {memory_use.SMALL_BACKLOG:,} events, then one before {backlog:,}")
            waiting = memory_use.backlog(where, target, backlog, seconds)
            _console.print(memory_use.backlog_table(waiting))
            found["backlog"] = {**asdict(waiting), "growth_mb": waiting.growth_mb}
        if consumers:
            _say(f"a worker that starts with {consumers:,} known consumers")
            starts = memory_use.recoveries(where, consumers)
            _console.print(memory_use.recovery_table(starts))
            for start in starts:
                for line in start.said:
                    _console.print(f"{start.what}: {escape(line)}")
            found["recovery"] = [asdict(start) for start in starts]
    _finish({"memory": found}, output)


@program.command()
def letters(
    count: Annotated[int, typer.Option(min=1, help="Dead letters.")] = 1_000_000,
    output: Json = None,
) -> None:
    """Measure the index of dead letters: reading it in, and the first page and the groups of it."""
    with tempfile.TemporaryDirectory(prefix="profile-sync-bench-") as folder:
        filled = dead_letters.run(Path(folder), count)
    _console.print(dead_letters.table(filled))
    with site() as where:
        _say(f"a worker before {count:,} dead letters")
        found = dead_letters.followed(where, count)
    _console.print(dead_letters.followed_table(found))
    _finish({"letters": asdict(filled), "worker": [asdict(one) for one in found]}, output)


@program.command()
def profile(
    latency_ms: Annotated[int, typer.Option(help="5 or 50.")] = 5,
    events: Events = rows.EVENTS,
    top: Annotated[int, typer.Option(min=1, help="Functions to show.")] = 25,
    output: Json = None,
) -> None:
    """Show where the engine spends its processor time."""
    with site() as where, stub(where.folder) as target:
        found = profiling.profile(where, target, latency_ms, events)
    for table in profiling.tables(found, top):
        _console.print(table)
    _console.print(
        f"{found['events_per_second']:,.0f} events/s, {found['cpu_ms_per_event']:.2f} CPU-ms each meanwhile."
    )
    _finish({"profile": found}, output)


def _say(text: str) -> None:
    _errors.print(f"{time.strftime('%H:%M:%S')} {escape(text)}", highlight=False)


def _finish(found: dict[str, Any], output: Path | None) -> None:
    machine = report.machine()
    _console.print(f"On {machine['cores']} x {machine['processor']}, {machine['system']}, Python {machine['python']}.")
    if output is not None:
        output.write_text(json.dumps({"machine": machine, **found}, indent=1, default=str) + "\n")


def main() -> None:
    """Print errors that say what to do without a traceback, and clean up on SIGTERM too."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        program()
    except (BrokerStartError, KafkaAccessError, NotDone, TimeoutError, ValueError) as error:
        _errors.print(f"bench: {escape(str(error))}")
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
