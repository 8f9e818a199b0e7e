"""Shows where the engine spends its processor time: row (b) under a sampler."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bench.backlog import publish
from bench.measured import steady, watch
from bench.rows import selected
from bench.side_by_side import START_WITHIN_SECONDS
from bench.site import Site
from bench.stub import Stub

SLOWEST_PER_SECOND = 40.0


def profile(site: Site, target: Stub, milliseconds: int, events: int) -> dict[str, Any]:
    """The sampler's findings (see ``programs.sampling``), and the speed meanwhile.

    Raises:
        NotDone: the engine ended, or did not finish in time.
    """
    [row] = selected([f"b{milliseconds}"])
    kafka = site.kafka(f"bench-{events}")
    publish(kafka, events)
    output = site.folder / "samples.json"
    before = target.answered().calls
    variables = {"BENCH_TARGET": target.url(milliseconds), "BENCH_SAMPLES": str(output)}
    with site.running(row.command(), kafka, variables) as running:
        within = START_WITHIN_SECONDS + events / SLOWEST_PER_SECOND
        looks = watch([running.process], running.log, lambda: target.answered().calls - before, events, within)
        measured = steady(looks, events)
    found: dict[str, Any] = json.loads(output.read_text())
    found["events_per_second"] = measured.events_per_second
    found["cpu_ms_per_event"] = measured.cpu_ms_per_event
    return found


def tables(found: Mapping[str, Any], top: int) -> list[Table]:
    """Tables of packages and functions by their own samples, of functions with their callees, and of threads."""
    total = sum(found["own"].values()) or 1
    packages: Counter[str] = Counter()
    for function, samples in found["own"].items():
        packages[package_of(function)] += samples
    shown = []
    for title, counted in (
        ("Own time by package (rooms of app apart)", packages),
        ("Own time by function", found["own"]),
        ("With what it called", found["with_callees"]),
    ):
        table = Table("%", "", title=title)
        table.columns[0].justify = "right"
        for name, samples in sorted(counted.items(), key=lambda item: -item[1])[:top]:
            table.add_row(f"{100 * samples / total:.1f}", name)
        shown.append(table)
    threads = Table("CPU, s", "thread", title="Threads, since the start of the process")
    threads.columns[0].justify = "right"
    for thread, seconds in sorted(found["threads"].items(), key=lambda item: -item[1]):
        if seconds >= 0.01:
            threads.add_row(f"{seconds:.2f}", thread)
    threads.add_row(f"{found['garbage_seconds']:.2f}", "garbage collection, in any of them")
    return [*shown, threads]


def package_of(function: str) -> str:
    """The first part of a function's module; for this program's modules, the first two parts.

    >>> package_of("app.engine.journal:10 Journal.settle"), package_of("asyncio.locks:5 Event.wait")
    ('app.engine', 'asyncio')
    """
    parts = function.partition(":")[0].split(".")
    return ".".join(parts[:2]) if parts[0] == "app" else parts[0]
