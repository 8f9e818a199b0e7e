"""Whose records a dry run may write. No I/O.

A dry run settles events without writing anything to the target. So its records must never be taken for those of a group
that does: what it settled would count as synced and never be written. Neither may a dry run go on with the records of a
group that works in earnest, because it would settle that group's events.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.delivery.partition_record import PartitionState
from app.delivery.pipeline_identity import PipelineIdentity, compare
from app.delivery.pipeline_identity import refusal as pipeline_refusal


def refusal(state: PartitionState, *, dry_run: bool, group: str) -> str | None:
    """Why a worker must not go on with a partition's record, and what to do; None: it may.

    A record that does not say is of an older program, and is believed to be of the worker's kind. So is the record of a
    partition without any work so far.

    >>> refusal(PartitionState(dry_run=True), dry_run=False, group="g") is None
    True
    """
    if state.dry_run is None or state.dry_run == dry_run or not has_worked(state):
        return None
    if state.dry_run:
        return (
            f"Group {group} did a dry run: its events count as settled, and nothing was written. Use another "
            "KAFKA_GROUP to work in earnest (KAFKA_START says where it begins), or set SYNC_DRY_RUN=true to go on "
            "with the dry run."
        )
    return (
        f"Group {group} works in earnest: a dry run would settle its events without writing anything. Use another "
        "KAFKA_GROUP for the dry run (KAFKA_START says where it begins), or unset SYNC_DRY_RUN."
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
    """Whether anything of the partition was settled or parked."""
    return bool(state.counts or state.closed_months or state.decided_above or state.parked or state.verdicts)
