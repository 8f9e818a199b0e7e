"""The side-by-side table, its targets and its JSON. Pure, except for the description of the machine."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.rows import ROWS, Row
from bench.side_by_side import Run
from bench.site import IN_FLIGHT


@dataclass(frozen=True, slots=True)
class Summary:
    """The medians of a row's good runs. ``stolen``: of the worst of them. ``troubles``: why its other runs failed."""

    row: Row
    good: int
    events: int
    events_per_second: float
    slowest_per_second: float
    fastest_per_second: float
    calls_per_second: float
    cpu_ms_per_event: float
    resident_mb: float
    took_ms: float
    events_per_commit: float
    stolen: float
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that must be reached; ``value`` is None if a row that it needs has no figures."""

    what: str
    value: float | None
    wanted: float

    @property
    def reached(self) -> bool:
        """Whether the ratio is known to be reached."""
        return self.value is not None and self.value >= self.wanted


def summarise(rows: Sequence[Row], runs: Sequence[Run]) -> list[Summary]:
    """A summary for each row that was run."""
    return [_summary(row, [run for run in runs if run.row == row.name]) for row in rows]


def _summary(row: Row, runs: Sequence[Run]) -> Summary:
    good = [run for run in runs if run.events_per_second]
    speeds = [run.events_per_second for run in good] or [0.0]
    speed = statistics.median(speeds)
    return Summary(
        row=row,
        good=len(good),
        events=runs[0].events if runs else 0,
        events_per_second=speed,
        slowest_per_second=min(speeds),
        fastest_per_second=max(speeds),
        calls_per_second=speed * statistics.median([run.calls_per_event for run in good] or [0.0]),
        cpu_ms_per_event=statistics.median([run.cpu_ms_per_event for run in good] or [0.0]),
        resident_mb=max((run.resident_mb for run in good), default=0.0),
        took_ms=statistics.median([run.took_ms for run in good] or [0.0]),
        events_per_commit=statistics.median([run.events_per_commit for run in good] or [0.0]),
        stolen=max((run.stolen for run in good), default=0.0),
        troubles=tuple(dict.fromkeys(run.trouble for run in runs if run.trouble)),
    )


def targets(summaries: Sequence[Summary]) -> list[Target]:
    """The targets of the engine."""
    found = {summary.row.name: summary for summary in summaries if summary.good}
    speeds = {name: summary.events_per_second for name, summary in found.items()}
    cpu = {name: summary.cpu_ms_per_event for name, summary in found.items()}
    return [
        Target("b5 / d5, events/s", _ratio(speeds, "b5", "d5"), 1.0),
        Target("b5 / c5, events/s", _ratio(speeds, "b5", "c5"), 12.0),
        Target("a5 / b5, CPU per event", _ratio(cpu, "a5", "b5"), 0.25),
        *(
            target
            for row in ROWS
            if row.worker and row.milliseconds == 50
            for target in (
                Target(f"{row.name} / ({row.in_flight} / 50 ms = {_ideal(row):,.0f}/s)", _part(speeds, row), 0.95),
                Target(f"{row.name} / ({row.in_flight} / what a call took)", _used(found.get(row.name)), 0.95),
            )
        ),
        *(Target(f"{name} / d5, events/s", _ratio(speeds, name, "d5"), 0.7) for name in ("e5", "f5")),
    ]


def _ideal(row: Row) -> float:
    """Calls per second if each call took exactly the target's latency."""
    return row.in_flight * 1000 / row.milliseconds


def _part(values: Mapping[str, float], row: Row) -> float | None:
    return values[row.name] / _ideal(row) if row.name in values else None


def _used(summary: Summary | None) -> float | None:
    """The share of the possible calls in progress that were in progress, by Little's law."""
    if summary is None:
        return None
    return summary.calls_per_second * summary.took_ms / 1000 / summary.row.in_flight


def _ratio(values: Mapping[str, float], above: str, below: str) -> float | None:
    return values[above] / values[below] if above in values and values.get(below) else None


def table(summaries: Sequence[Summary]) -> Table:
    """The table: one line for each row."""
    shown = Table(
        "",
        "program",
        "a call takes",
        "took, ms",
        "events/s",
        "slowest..fastest",
        "calls/s",
        "CPU, ms/event",
        "MB",
        "events/commit",
        "stolen",
        title=f"One backlog, {IN_FLIGHT} in flight (c: one at a time, g: {IN_FLIGHT // 2}), one call per event",
    )
    for column in shown.columns[2:]:
        column.justify = "right"
    for summary in summaries:
        row = summary.row
        figures = (
            (
                f"{summary.took_ms:.1f}",
                f"{summary.events_per_second:,.0f}",
                f"{summary.slowest_per_second:,.0f}..{summary.fastest_per_second:,.0f}",
                f"{summary.calls_per_second:,.0f}",
                f"{summary.cpu_ms_per_event:.2f}",
                f"{summary.resident_mb:,.0f}",
                f"{summary.events_per_commit:.1f}" if summary.events_per_commit else "",
                f"{summary.stolen:.0%}",
            )
            if summary.good
            else ("-",) * 8
        )
        shown.add_row(row.letter, row.what, f"{row.milliseconds} ms", *figures)
    return shown


def target_table(found: Sequence[Target]) -> Table:
    """The table of targets and of the values that were reached."""
    shown = Table("ratio", "measured", "wanted", "")
    shown.columns[1].justify = shown.columns[2].justify = "right"
    for target in found:
        measured = "-" if target.value is None else f"{target.value:.2f}"
        verdict = "reached" if target.reached else "not measured" if target.value is None else "missed"
        shown.add_row(target.what, measured, f">= {target.wanted:g}", verdict)
    return shown


def machine() -> dict[str, Any]:
    """Describes the machine that the figures were measured on."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip() for line in information.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def as_json(summaries: Sequence[Summary], runs: Sequence[Run], ceilings: Mapping[str, float]) -> dict[str, Any]:
    """All figures as JSON, for programs."""
    return {
        "stubRequestsPerSecond": dict(ceilings),
        "rows": [
            {
                **{name: value for name, value in asdict(s).items() if name != "row"},
                "row": s.row.name,
                "what": s.row.what,
            }
            for s in summaries
        ],
        "targets": [{**asdict(target), "reached": target.reached} for target in targets(summaries)],
        "runs": [asdict(run) for run in runs],
    }
