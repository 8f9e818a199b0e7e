"""What ``profile-sync verify`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import typer

from app.cli.output import printable, show_facts
from app.profile.holdings.drift import ColumnDrift, Drift
from app.profile.holdings.findings import DriftFinding, Status
from app.profile.masking import MASK

# At most this many consumers that could not be checked are listed; ``--json`` lists all.
NOTES_SHOWN = 20


def document(findings: Sequence[DriftFinding], *, show_values: bool) -> dict[str, Any]:
    """What ``--json`` prints. ``checked`` and ``drifted`` count consumers; a repaired one does not count as drifted."""
    return {
        **_numbers(findings),
        "consumers": [
            {
                "consumerId": finding.consumer_id,
                "partition": finding.partition,
                "event": finding.event,
                "status": finding.status.value,
                "note": finding.note,
                "drift": [_drift(drift, show_values=show_values) for drift in finding.drift],
                "writes": [
                    {
                        "action": write.action,
                        "entity": write.entity.value,
                        "key": list(write.key),
                        "problem": write.problem,
                    }
                    for write in finding.writes
                ],
            }
            for finding in findings
        ],
    }


def _numbers(findings: Sequence[DriftFinding]) -> dict[str, int]:
    by_status = Counter(finding.status for finding in findings)
    return {
        "checked": len(findings) - sum(by_status[status] for status in (Status.PENDING, Status.ERROR, Status.NO_HOME)),
        "partial": sum(finding.in_part for finding in findings),
        "pending": by_status[Status.PENDING],
        "drifted": by_status[Status.DRIFTED],
        "repaired": by_status[Status.REPAIRED],
        "errors": by_status[Status.ERROR],
        "noHome": by_status[Status.NO_HOME],
    }


def _drift(drift: Drift, *, show_values: bool) -> dict[str, Any]:
    return {
        "entity": drift.entity.value,
        "kind": drift.kind.value,
        "key": list(drift.key),
        "columns": [
            {
                "column": column.column,
                "expected": _value(column.wanted, show_values),
                "held": _value(column.held, show_values),
            }
            for column in drift.columns
        ],
        "note": drift.note,
    }


def _value(value: str | None, show_values: bool) -> str | None:
    """The value, or a mask unless values are shown. A missing value is not masked."""
    return value if show_values or not value else MASK


def show(findings: Sequence[DriftFinding], *, show_values: bool) -> None:
    """Print drift and repairs, the consumers that could not be checked, and a line of totals."""
    _show_drift(findings, show_values=show_values)
    _show_writes(findings)
    silent = (Status.OK, Status.PARTIAL, Status.REPAIRED, Status.NO_HOME)
    with_note = [f for f in findings if f.note and f.status not in silent]
    for finding in with_note[:NOTES_SHOWN]:
        typer.echo(printable(f"{finding.status.value}: {finding.consumer_id}: {finding.note}"))
    if len(with_note) > NOTES_SHOWN:
        typer.echo(f"... and {len(with_note) - NOTES_SHOWN:,} more; --json lists all")
    for note, number in Counter(f.note for f in findings if f.status is Status.NO_HOME).most_common():
        typer.echo(printable(f"not checked: {number:,} of the consumers: {note}"))
    reasons = Counter(finding.note for finding in findings if finding.in_part)
    for note, number in reasons.most_common():
        typer.echo(printable(f"in part: {number:,} of the consumers: {note}"))
    numbers = _numbers(findings)
    typer.echo(
        f"checked {numbers['checked']:,} consumers (in part {numbers['partial']:,}), drifted {numbers['drifted']:,}, "
        f"repaired {numbers['repaired']:,}, pending {numbers['pending']:,}, errors {numbers['errors']:,}"
        + (f", without a home {numbers['noHome']:,}" if numbers["noHome"] else "")
    )


def _show_drift(findings: Sequence[DriftFinding], *, show_values: bool) -> None:
    show_facts(
        "Drift that was found",
        (
            (
                ("consumer", finding.consumer_id),
                ("last event", finding.event or "-"),
                (drift.entity.value, drift.kind.value),
                ("key", "/".join(drift.key)),
                *((("", drift.note),) if drift.note else (("", _column(one, show_values)) for one in drift.columns)),
            )
            for finding in findings
            for drift in finding.drift
        ),
    )


def _column(column: ColumnDrift, show_values: bool) -> str:
    if not show_values:
        return column.column
    return f"{column.column}: {column.held or 'nothing'} instead of {column.wanted or 'nothing'}"


def _show_writes(findings: Sequence[DriftFinding]) -> None:
    show_facts(
        "Repair",
        (
            (
                ("consumer", finding.consumer_id),
                (write.action, write.entity.value),
                ("key", "/".join(write.key)),
                ("", write.problem or "done"),
            )
            for finding in findings
            for write in finding.writes
        ),
    )
