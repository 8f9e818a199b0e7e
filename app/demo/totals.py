"""Whether counts, dead letters and rows add up at the end. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from app.demo.clients import Totals
from app.demo.rows import RowCheck


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of the checks. ``dead_letters``: the number of different events in the dead-letter topic."""

    published: int
    totals: Totals
    dead_letters: int
    calls: int
    seconds: float
    rows: RowCheck
    consumers_checked: int
    consumers_left_out: int


def problems(found: Findings, mended: int = 0) -> list[str]:
    """One line for everything that does not add up; empty if all is well.

    ``mended``: events that were written after they had been dead letters.
    """
    totals = found.totals
    wrong = []
    if totals.events != found.published:
        wrong.append(f"{found.published:,} events were published, but {totals.events:,} were counted")
    if totals.parked:
        wrong.append(f"{totals.parked:,} events are still parked in the retry topic")
    if not totals.complete:
        wrong.append("the counts are not complete: a worker is still catching up")
    # A failed event whose consumer was deleted later is superseded; its dead letter stays in the topic.
    unfit = totals.failed + totals.invalid + totals.superseded + mended
    if found.dead_letters != unfit:
        wrong.append(
            f"{unfit:,} events failed, are invalid, were superseded or redriven, but {found.dead_letters:,} are in the "
            "dead-letter topic"
        )
    if found.rows.differing:
        wrong.append(
            f"{found.rows.differing:,} of {found.rows.checked:,} rows differ from what the events say: "
            + "; ".join(found.rows.examples)
        )
    return wrong


def report(found: Findings) -> dict[str, Any]:
    """The totals, for the last line of ``demo --exit``."""
    counts = asdict(found.totals)
    del counts["complete"]
    rate = found.totals.events / found.seconds if found.seconds > 0 else 0.0
    return {
        "published": found.published,
        **counts,
        "deadLetters": found.dead_letters,
        "calls": found.calls,
        "seconds": round(found.seconds, 1),
        "eventsPerSecond": round(rate, 1),
        "rowsChecked": found.rows.checked,
        "rowsDiffering": found.rows.differing,
        "consumersChecked": found.consumers_checked,
        "consumersLeftOut": found.consumers_left_out,
    }
