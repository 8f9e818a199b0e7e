"""The table at the end, and the files that are kept of a failed run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.event_calls import Strategy
from tests.chaos.evidence import Evidence
from tests.chaos.schedule import Schedule
from tests.chaos.verdict import SHOWN, Verdict


@dataclass(frozen=True, slots=True)
class Line:
    """One run. ``kept``: the folder with the evidence of a failed run. ``recreated_events``: in the recreated topic."""

    strategy: Strategy
    schedule: Schedule
    verdict: Verdict
    kept: Path | None = None
    recreated_events: int = 0


def table(lines: Sequence[Line]) -> Table:
    """One row for each run. Recovery: seconds beyond the session timeout after a kill, and after an outage's end."""
    found = Table(title="Torture", title_justify="left")
    for name in ("run", "seed", "strategy", "workers", "brokers", "faults"):
        found.add_column(name, justify="left" if name in ("strategy", "faults") else "right", overflow="fold")
    for name in ("events", "lost", "repeated calls", "order", "count error", "other", "late", "recovery s", "wall s"):
        found.add_column(name, justify="right")
    for number, line in enumerate(lines, 1):
        figures = line.verdict.figures
        others = len(line.verdict.violations) - figures.lost - figures.order - figures.count_error
        share = 100 * figures.repeated_calls / figures.events if figures.events else 0.0
        found.add_row(
            str(number),
            str(line.schedule.seed),
            line.strategy,
            str(len(line.schedule.workers)),
            str(line.schedule.brokers),
            blows_text(line.schedule) + (", topic recreated" if line.recreated_events else ""),
            str(figures.events),
            str(figures.lost),
            f"{figures.repeated_calls} ({share:.2f} %)",
            str(figures.order),
            str(figures.count_error),
            str(others),
            str(figures.late),
            f"{_seconds(figures.recovery.after_kill)} / {_seconds(figures.recovery.after_outage)}",
            f"{figures.wall_seconds:.0f}",
        )
    return found


def blows_text(schedule: Schedule) -> str:
    """``kill -9 x 3, stop x 2``; faults of the CMT are summed up."""
    blows = schedule.blows()
    known = [f"{kind} x {number}" for kind, number in sorted(blows.items()) if not _is_fault(kind, schedule)]
    faults = sum(number for kind, number in blows.items() if _is_fault(kind, schedule))
    return ", ".join([*known, f"CMT faults x {faults}"] if faults else known)


def print_table(lines: Sequence[Line]) -> None:
    """To standard output, wide enough for a log file."""
    Console(width=170).print(table(lines))


def describe(line: Line) -> str:
    """The figures of one run and its violations, in words."""
    figures = line.verdict.figures
    text = [
        f"seed {line.schedule.seed}, {line.strategy}: {figures.events} events, "
        + ", ".join(f"{name} {number}" for name, number in figures.outcomes.items() if number)
        + f"; repeated: {figures.repeated_calls} calls of {figures.repeated_events} events, "
        f"{figures.repeated_dead_letters} dead letters; {figures.late} late calls; "
        f"{figures.equal_writes} writes of what was held already; "
        f"rows checked of {figures.rows_checked} consumers; "
        f"{figures.recovery.kills} kills and freezes measured"
    ]
    if line.recreated_events:
        text[0] += f"; {line.recreated_events} of the events after the topic was recreated, in a new group"
    text += [f"  {violation}" for violation in line.verdict.violations[:SHOWN]]
    if len(line.verdict.violations) > SHOWN:
        text.append(f"  and {len(line.verdict.violations) - SHOWN} more")
    if line.kept is not None:
        text.append(f"  logs and evidence: {line.kept}")
    return "\n".join(text)


def keep(folder: Path, schedule: Schedule, evidence: Evidence, verdict: Verdict) -> None:
    """Write the run's options, its acts and its violations to files."""
    write = (folder / "verdict.txt").write_text
    write("\n".join(str(violation) for violation in verdict.violations) + "\n", encoding="utf-8")
    documents = {
        "strategy": evidence.strategy,
        "schedule": asdict(schedule),
        "done": [asdict(done) | {"partitions": sorted(done.partitions)} for done in evidence.done],
        "calls": [asdict(call) for call in evidence.calls],
        "sources": [
            {
                "partition": source.partition,
                "offset": source.offset,
                "consumer": source.consumer,
                "eventId": source.event_id,
                "value": None if source.value is None else source.value.decode(errors="replace"),
            }
            for source in evidence.sources
        ],
        "answers": {slot: asdict(answers) for slot, answers in evidence.answers.items()},
        "consumers": evidence.consumers,
        "dead letters": [{"source": letter.source, "reason": letter.reason} for letter in evidence.dead_letters],
        "lags": evidence.lags,
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")


def _is_fault(kind: str, schedule: Schedule) -> bool:
    return any(rule["kind"] == kind for rule in schedule.rules)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
