"""How soon work goes on after a blow. Pure.

It is measured at the simulator, by the first call for a consumer of an affected partition. After a kill -9, or a freeze
that outlasts the session, the time counts from the end of the session timeout, but not from before a worker is there
again (started or thawed). The partition that takes longest counts. Calls within a second of the kill may still be the
killed worker's. After an outage of the broker or the CMT, the time counts from its end, for any partition. A blow is
not measured if another one that stops all workers begins before its recovery.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.blows import Done
from tests.chaos.evidence import seconds
from tests.chaos.schedule import SESSION_SECONDS, Blow, Deed
from tests.support.simulator_probe import Call

OWN_CALLS_SECONDS = 1.0
_OF_OUTAGES = frozenset({Deed.BROKER_KILL, Deed.BROKER_STOP, Deed.BROKER_FREEZE})
_DISTURBING = _OF_OUTAGES | {Deed.FREEZE, Deed.KILL}


@dataclass(frozen=True, slots=True)
class Recovery:
    """The longest recovery of each kind, in seconds; None: none was measured. ``kills``: how many were measured."""

    kills: int = 0
    after_kill: float | None = None
    after_outage: float | None = None


def recovery_of(done: Sequence[Done], calls: Iterable[Call], partition_of: Mapping[str, int]) -> Recovery:
    """The recoveries of a run. ``partition_of``: the partition of every consumer."""
    times: dict[int, list[float]] = {}
    every: list[float] = []
    for call in calls:
        at = seconds(call)
        every.append(at)
        partition = partition_of.get(call.consumer_id or "")
        if partition is not None:
            times.setdefault(partition, []).append(at)
    for one in (every, *times.values()):
        one.sort()
    last = every[-1] if every else 0.0
    kills: list[float] = []
    outages: list[float] = []
    for number, blow in enumerate(done):
        if blow.act.opens in (Blow.KILL, Blow.STOP):
            if not blow.partitions:
                continue
            # Work that never goes on is not measured here: an event is lost then.
            resumed = max(_first(times.get(one, []), blow.at + OWN_CALLS_SECONDS, last) for one in blow.partitions)
            if not _disturbed(done, number, blow.at, resumed):
                kills.append(max(0.0, resumed - max(blow.at + SESSION_SECONDS, _worker_since(done, number))))
        elif blow.act.deed in (Deed.BROKER_START, Deed.BROKER_THAW) or (
            blow.act.deed is Deed.END_FAULT and blow.act.down
        ):
            resumed = _first(every, blow.at, last)
            if not _disturbed(done, number, blow.at, resumed, but=_OF_OUTAGES):
                outages.append(resumed - blow.at)
    return Recovery(len(kills), max(kills, default=None), max(outages, default=None))


def _worker_since(done: Sequence[Done], number: int) -> float:
    """When a worker was there to take over."""
    if not done[number].alone:
        return done[number].at
    return next((one.at for one in done[number:] if one.act.deed in (Deed.START, Deed.THAW)), done[number].at)


def _first(times: Sequence[float], after: float, otherwise: float) -> float:
    place = bisect_left(times, after)
    return times[place] if place < len(times) else max(after, otherwise)


def _disturbed(
    done: Sequence[Done], number: int, start: float, end: float, but: Collection[Deed] = frozenset()
) -> bool:
    """Whether the CMT or the broker is down at the time, or another worker is hit; ``but``: not if before it."""
    for other, one in enumerate(done):
        earliest = start if one.act.deed in but else start - SESSION_SECONDS - OWN_CALLS_SECONDS
        if other != number and one.act.deed in _DISTURBING and earliest <= one.at <= end:
            return True
    if but:
        return False
    downs = [one for one in done if one.act.down]
    return any(
        begin.at <= end and finish.at >= start - SESSION_SECONDS
        for begin, finish in pairwise(downs)
        if begin.act.deed is Deed.FAULT and finish.act.deed is Deed.END_FAULT
    )
