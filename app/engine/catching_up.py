"""How far a new owner must see the main topic before it works as usual. No I/O.

A parked event runs only when every event before it was seen. After a crash, the events that the last owner had in lanes
come again from the main topic, perhaps after the copies of younger ones.

A given-up event that has a durable verdict must be seen too. Its verdict takes room in the record until its dead letter
is written, which needs the event. Other events that are given up meanwhile wait for that room.
"""

from __future__ import annotations

from app.delivery.partition_record import PartitionState


class CatchingUp:
    """How far the main topic was seen by this owner, and how far it must be.

    ``seen``: every event up to this offset was handed over, or had been decided before. ``until``: the highest offset
    that was parked, or had a verdict, when this owner began.
    """

    __slots__ = ("seen", "until")

    def __init__(self, state: PartitionState) -> None:
        self.seen = state.decided_upto
        self.until = max((*state.parked, *state.verdicts), default=-1)

    @property
    def goes_on(self) -> bool:
        """Whether the main topic must be read further before every parked event may run."""
        return self.seen < self.until

    def saw(self, offset: int) -> bool:
        """Everything up to this offset was handed over. Returns whether a parked event may have waited for that."""
        if not self.goes_on or offset <= self.seen:
            return False
        self.seen = offset
        return True

    def may_run(self, offset: int) -> bool:
        """Whether every event before a parked one was seen."""
        return offset <= self.seen or not self.goes_on
