"""Where the work on a partition goes on. The durable record decides, not the group's offset. No I/O.

Offsets of a consumer group expire, are reset by hand, or are placed at the end by ``KAFKA_START``. The record knows
which events are settled or parked, so everything above ``upto`` is read, whatever the group's offset says.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.delivery.partition_record import PartitionState


@dataclass(frozen=True, slots=True)
class Resume:
    """``position``: the first offset to fetch. ``settled``: offsets that the group's offset asks for and that are not
    done again. ``skipped``: undecided offsets that the group's offset would leave out (at most so many events).
    ``cut_off``: undecided offsets that the topic no longer has (at most so many events)."""

    position: int
    settled: range = range(0)
    skipped: int = 0
    cut_off: int = 0


def resume(state: PartitionState, group: int | None, begin: int, *, copies_lost: bool = False) -> Resume:
    """Where to go on.

    Args:
        group: the offset that the group would go on at; None: not known.
        begin: the topic's first offset.
        copies_lost: the retry topic does not have the copies of parked events: they are read from here again.

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
    """How many offsets of [first, end) are neither settled nor parked."""
    first = max(first, state.upto + 1)
    return max(0, end - first) - sum(first <= offset < end for offset in state.decided_above)
