"""Is it a standstill? What was seen of each partition, and for how long -> a verdict. No I/O.

A consumer that reads nothing looks like one that has nothing to read. The broker's own end offsets tell them apart:
records stand below the last stable offset, and the next offset to fetch does not move. Some reasons for that are known,
and pass or are somebody else's to mend: the worker says so and waits. Where there is none, something in this process is
broken in a way that nobody thought of, and only a new process helps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.delivery.record import TopicPartition

# A broker that is elected, a rebalance that begins, a retried fetch: all take less than this.
QUIET_SECONDS = 60.0
# From the verdict to the end of the worker: so long is it not ready, and says why.
LAST_CALL_SECONDS = 15.0

NO_ANSWER = "the broker that leads it does not say where it ends"
TRANSACTION = "a transaction of its producer is open; its records and all behind them come when it ends"
UNKNOWN = "no reason is known"


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """One partition at one look.

    Args:
        position: the next offset to fetch; -1: not known.
        stable_end: where what a reader may see ends (the last stable offset); None: the broker has not said lately.
        end: where the log ends.
        held: why it is not to be fetched now, if so.
    """

    position: int
    stable_end: int | None
    end: int | None
    held: str | None = None

    @property
    def reason(self) -> str | None:
        """Why nothing may come; None when something must."""
        if self.held is not None:
            return self.held
        if self.stable_end is None:
            return NO_ANSWER
        if self.position >= self.stable_end:
            return TRANSACTION
        return None

    @property
    def waiting(self) -> bool:
        """Whether there is, or may be, something that was not fetched."""
        if self.stable_end is None:
            return True
        return self.position < max(self.stable_end, self.end or 0)


@dataclass(frozen=True, slots=True)
class Standstill:
    """Records wait in a partition, and nothing was fetched of it for ``seconds``."""

    tp: TopicPartition
    why: str
    seconds: float

    @property
    def known(self) -> bool:
        """Whether there is a reason that passes without this worker's end."""
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
    """Remembers since when each partition has been quiet, and for which reason."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet: dict[TopicPartition, _Quiet] = {}

    def forget(self) -> None:
        """The partitions come and go."""
        self._quiet.clear()

    def look(self, seen: Mapping[TopicPartition, PartitionLook]) -> list[Standstill]:
        """What stands still by now. The time is counted anew for each reason, and for having none."""
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
