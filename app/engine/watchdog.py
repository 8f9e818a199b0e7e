"""Finds partitions that stand still: records wait, and the next offset to fetch does not move. No I/O.

A consumer that reads nothing looks like one that has nothing to read. The broker's end offsets tell them apart: at a
standstill there are records below the last stable offset. If the reason is known, it passes, or an operator can remove
it; the worker reports it and waits. If no reason is known, something in this process is broken in a way that this
program does not foresee, and only a new process helps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.delivery.record import TopicPartition

# The election of a leader, the start of a rebalance and a retried fetch all take less than this.
QUIET_SECONDS = 60.0
# Between the verdict and the end of the worker. In this time the worker is not ready, and says why.
LAST_CALL_SECONDS = 15.0

NO_ANSWER = "the broker that leads it does not say where it ends"
TRANSACTION = "a transaction of its producer is open; its records and all behind them come when it ends"
UNKNOWN = "no reason is known"


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """One partition at one look.

    Args:
        position: the next offset to fetch; -1: not known.
        stable_end: the last stable offset, where readable records end; None: the broker has not named it lately.
        end: where the log ends.
        held: why the partition must not be fetched now; None: it may be.
    """

    position: int
    stable_end: int | None
    end: int | None
    held: str | None = None

    @property
    def reason(self) -> str | None:
        """Why it is right that nothing is fetched; None: something should be."""
        if self.held is not None:
            return self.held
        if self.stable_end is None:
            return NO_ANSWER
        if self.position >= self.stable_end:
            return TRANSACTION
        return None

    @property
    def waiting(self) -> bool:
        """Whether there is, or may be, a record that was not fetched."""
        if self.stable_end is None:
            return True
        return self.position < max(self.stable_end, self.end or 0)


@dataclass(frozen=True, slots=True)
class Standstill:
    """Records wait in a partition, and nothing was fetched from it for ``seconds``."""

    tp: TopicPartition
    why: str
    seconds: float

    @property
    def known(self) -> bool:
        """Whether there is a reason that can pass without a restart of this worker."""
        return self.why != UNKNOWN

    @property
    def hopeless(self) -> bool:
        """Whether only a new process helps."""
        return not self.known and self.seconds >= QUIET_SECONDS + LAST_CALL_SECONDS

    def __str__(self) -> str:
        topic, number = self.tp
        return f"nothing was read from partition {number} of {topic} for {self.seconds:.0f} s: {self.why}"


@dataclass(frozen=True, slots=True)
class _Quiet:
    position: int
    why: str
    since: float


class Watchdog:
    """Remembers how long each partition has been quiet, and why."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet: dict[TopicPartition, _Quiet] = {}

    def forget(self) -> None:
        """Start over: partitions come or go."""
        self._quiet.clear()

    def look(self, seen: Mapping[TopicPartition, PartitionLook]) -> list[Standstill]:
        """What stands still now. The time starts again with each change of the reason."""
        now = self._clock()
        quiet = {}
        for tp, one in seen.items():
            if not one.waiting:
                continue
            why = one.reason or UNKNOWN
            before = self._quiet.get(tp)
            if before is None or (before.position, before.why) != (one.position, why):
                before = _Quiet(one.position, why, now)
            quiet[tp] = before
        self._quiet = quiet
        return [
            Standstill(tp, one.why, now - one.since)
            for tp, one in sorted(quiet.items())
            if now - one.since >= QUIET_SECONDS
        ]
