"""When the counts of closed days leave a partition's durable record (``app/delivery/closed_days.py`` says how)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

from app.delivery.closed_days import Move, first_kept_day, plan_move
from app.delivery.partition_record import PartitionState
from app.engine.state_log import StateLog

# A redrive of old dead letters changes the counts of many days. When the record holds more of them, they leave it at
# once: the record is rewritten with every group commit.
MOST_DAYS = 10


class Closing:
    """Decides when closed days leave the record: not more often than every ``every_seconds``, unless there are many.

    Args:
        today: UTC.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        keep_days: int,
        every_seconds: float,
        today: Callable[[], date],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_days = keep_days
        self._every_seconds = every_seconds
        self._today = today
        self._clock = clock
        self._next = float("-inf")
        self._number = 0

    def first_kept(self) -> str:
        """The first day (ISO 8601) whose counts are kept."""
        return first_kept_day(self._today(), self._keep_days)

    def due(self, state: PartitionState, log: StateLog) -> Move | None:
        """What is to be moved out of a partition's record now, if anything."""
        if self._clock() < self._next and len(state.counts) <= MOST_DAYS:
            return None
        self._next = self._clock() + self._every_seconds
        self._number += 1
        return plan_move(
            state,
            partition=log.partition,
            epoch=log.epoch,
            number=self._number,
            read=log.read,
            today=self._today(),
            keep_days=self._keep_days,
        )
