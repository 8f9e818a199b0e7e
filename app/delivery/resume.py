"""Where a new owner goes on reading a partition: the partition record decides, not the group's offset. No I/O.

A group's offsets expire, are reset by hand, or are set to the end by ``KAFKA_START``. The partition record says which
events are settled or parked, so everything above its ``upto`` is read, whatever the group's offset says.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.partition_record import PartitionState


@dataclass(frozen=True, slots=True)
class Resume:
    """Where to go on, and how that differs from the group's offset.

    ``position``: the first offset to fetch. ``settled``: offsets that the group's offset would fetch again although
    they are decided; they are not fetched. ``skipped``: how many undecided offsets the group's offset would leave out.
    ``cut_off``: how many undecided offsets the topic no longer has. The last two are upper bounds on the number of
    events, because not every offset holds one.
    """

    position: int
    settled: range = range(0)
    skipped: int = 0
    cut_off: int = 0


def resume(state: PartitionState, group: int | None, begin: int, *, copies_lost: bool = False) -> Resume:
    """Where to go on.

    Args:
        group: the group's offset, where it would go on; None: not known.
        begin: the first offset that the topic still has.
        copies_lost: the retry topic has lost the copies of parked events, so they are read from the main topic again.

    >>> resume(PartitionState(upto=9), group=100, begin=0)
    Resume(position=10, settled=range(0, 0), skipped=90, cut_off=0)
    >>> resume(PartitionState(upto=9), group=0, begin=0).settled
    range(0, 10)
    """
    first = state.upto + 1
    position = min(first, *state.parked) if copies_lost and state.parked else first
    return Resume(
        max(position, begin),
        settled=range(max(group, begin), first) if group is not None and group < first else range(0),
        skipped=undecided(state, first, group) if group is not None else 0,
        cut_off=undecided(state, first, begin),
    )


def undecided(state: PartitionState, first: int, end: int) -> int:
    """How many offsets in [first, end) are neither settled nor parked."""
    first = max(first, state.upto + 1)
    return max(0, end - first) - sum(first <= offset < end for offset in state.decided_above)
