"""The lanes of a partition: events of one consumer run one after the other, lanes run side by side.

An event runs when the outcome of the one before it in its lane is durable. When a consumer has a lane and is parked,
everything in the lane is older than what is parked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from app.delivery.outcome import TryAgain
from app.engine.attempts import Attempts
from app.engine.context import now_ms
from app.engine.flow import Work
from app.engine.journal import Journal
from app.engine.parked import ParkedConsumers
from app.engine.parking import Parking
from app.engine.partition_tasks import PartitionTasks
from app.engine.settling import Settling


class Lanes:
    """The lanes of one partition, by consumer."""

    def __init__(
        self,
        tasks: PartitionTasks,
        journal: Journal,
        *,
        attempts: Attempts,
        settling: Settling,
        parking: Parking,
        parked: ParkedConsumers,
    ) -> None:
        self._tasks = tasks
        self._journal = journal
        self._attempts = attempts
        self._settling = settling
        self._parking = parking
        self._parked = parked
        self._lanes: dict[str, deque[Work]] = {}

    def __contains__(self, consumer: str) -> bool:
        return consumer in self._lanes

    def length(self, consumer: str) -> int:
        """How many events of a consumer are in its lane."""
        lane = self._lanes.get(consumer)
        return 0 if lane is None else len(lane)

    def offsets(self) -> Iterator[int]:
        """The main offsets of all events in lanes."""
        return (work.record.offset for lane in self._lanes.values() for work in lane)

    def add(self, work: Work) -> None:
        """Put an event into the lane of its consumer."""
        if lane := self._lanes.get(work.consumer):
            lane.append(work)
        else:
            self._lanes[work.consumer] = deque((work,))
            self._tasks.spawn(self._run(work.consumer))

    async def _run(self, consumer: str) -> None:
        lane = self._lanes[consumer]
        while lane and not self._tasks.draining:
            work = lane[0]
            offset = work.record.offset
            verdict = self._journal.state.verdicts.get(offset)
            if verdict is None:
                result = await self._attempts.run(work, 1, may_step_aside=True)
                if result is None or isinstance(result.decision, TryAgain):
                    # No await from here until the lane is gone: later events of this consumer are parked behind it.
                    del self._lanes[consumer]
                    self._parking.park(lane.popleft(), None if result is None else result.decision.failure)
                    while lane:
                        self._parking.park(lane.popleft())
                    return
                verdict = await self._settling.settle_or_give_up(work.record, result, now_ms())
            if verdict is not None:
                await self._settling.bury(work.record, verdict)
            self._settling.close_main(offset)
            lane.popleft()
        if not lane:
            del self._lanes[consumer]
            self._parked.wake(consumer)
