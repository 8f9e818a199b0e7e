"""Keeps the records of dry runs and of real runs apart. No I/O.

A dry run settles events without writing anything to the target. A real run must not go on with its records: the events
that the dry run settled would count as synced and never be written. A dry run must not go on with the records of a real
run either: it would settle events that the real run has yet to write.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.delivery.partition_record import PartitionState
from app.delivery.pipeline_identity import PipelineIdentity, compare
from app.delivery.pipeline_identity import refusal as pipeline_refusal


def refusal(state: PartitionState, *, dry_run: bool, group: str) -> str | None:
    """Why a worker must not go on with a partition record, and what to do; None: it may.

    Two records fit both kinds of run: one that does not say its kind (an older program wrote it), and one of a
    partition where no event has been settled or parked.

    >>> refusal(PartitionState(dry_run=True), dry_run=False, group="g") is None
    True
    """
    if state.dry_run is None or state.dry_run == dry_run or not has_worked(state):
        return None
    if state.dry_run:
        return (
            f"Group {group} did a dry run: its events count as settled, but nothing was written. For a real run, use "
            "another KAFKA_GROUP (KAFKA_START says where it begins). To go on with the dry run, set SYNC_DRY_RUN=true."
        )
    return (
        f"Group {group} does a real run: a dry run would settle its events without writing anything. For the dry run, "
        "use another KAFKA_GROUP (KAFKA_START says where it begins). For a real run, unset SYNC_DRY_RUN."
    )


def refusal_of_group(
    records: Iterable[PartitionState], running: PipelineIdentity, *, dry_run: bool, group: str
) -> str | None:
    """Why a worker must not join a group with these records; None: it may."""
    for state in records:
        difference = compare(state.identity, running).difference
        if difference is not None and state.identity is not None:
            return pipeline_refusal(difference, state.identity, running, group)
        if (why := refusal(state, dry_run=dry_run, group=group)) is not None:
            return why
    return None


def has_worked(state: PartitionState) -> bool:
    """Whether any event of the partition was settled or parked."""
    return bool(state.counts or state.closed_months or state.decided_above or state.parked or state.verdicts)
