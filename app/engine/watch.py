"""Watches a running worker, once a second: all its tasks must run, and records that wait must be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from faust.types import TP

from app.delivery.record import TopicPartition
from app.engine.context import EngineContext, EngineStopped
from app.engine.faust_tasks import WHAT_TO_DO, FaustTasks
from app.engine.holds import NOT_TAKEN
from app.engine.ownership import Ownership
from app.engine.watchdog import (
    LAST_CALL_SECONDS,
    NO_ANSWER,
    QUIET_SECONDS,
    TRANSACTION,
    UNKNOWN,
    PartitionLook,
    Standstill,
    Watchdog,
)
from app.kafka.durable_producer import ProducerEnded

log = structlog.get_logger(__name__)

# A take-over reads the state, waits for the read model and writes a few records. Each of these shows progress.
TAKE_OVER_SECONDS = 300.0
# A heartbeat is sent every second. If none was acknowledged for this much longer than a request may take, Kafka is
# silent.
HEARTBEATS_SECONDS = 3.0

# With these reasons a worker is not ready: it can do nothing for the records that wait. With the others it holds them
# back itself.
_NOT_READY = (UNKNOWN, NO_ANSWER, TRANSACTION)


class Watch:
    """What is wrong with this worker, as far as the worker itself can see.

    Args:
        checks: further checks; each raises when something has ended that should run as long as the worker.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        context: EngineContext,
        app: Any,
        ownership: Ownership,
        checks: Sequence[Callable[[], None]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._app = app
        self._ownership = ownership
        self._checks = checks
        self._clock = clock
        self._tasks = FaustTasks(app)
        self._dog = Watchdog(clock)
        self._standstills: list[Standstill] = []
        self._taking_over: tuple[object, float] = (None, clock())

    def look(self) -> None:
        """See what is wrong, and log what is new.

        Raises:
            EngineStopped: the worker must not go on like this.
        """
        self._tasks.check()
        try:
            self._context.producer.check()
        except ProducerEnded as error:
            raise EngineStopped(f"{error}: nothing more would be written. {WHAT_TO_DO}") from error
        for check in self._checks:
            check()
        if self._ownership.ready and self._ownership.gate:
            self._taking_over = (None, self._clock())
            self._look_at_partitions()
        else:
            self._dog.forget()
            self._say([])
            if not self._ownership.ready:
                self._look_at_take_over()

    def reasons(self) -> list[str]:
        """Why the worker cannot do its work. May be called from any thread."""
        rights = self._context.rights.missing()
        stands = [str(one) for one in self._standstills if one.why in _NOT_READY]
        damaged = self._context.unreadable.reasons(self._ownership.gate)
        return rights + damaged + stands + ([silent] if (silent := self._silent_session()) else [])

    def _silent_session(self) -> str | None:
        seconds = self._context.lease.silent_seconds()
        if not self._ownership.ready or seconds < self._context.kafka.session_timeout_seconds:
            return None
        return f"Kafka has answered no heartbeat for {seconds:.0f} s: this worker may have lost its partitions"

    def _look_at_partitions(self) -> None:
        consumer, gate = self._app.consumer, self._ownership.gate
        general = self._known_trouble()
        holds = self._ownership.holds()
        seen = {}
        for tp in gate:
            end = consumer.ends.latest(TP(*tp))
            held = general or self._context.unreadable.why(tp) or holds.get(tp)
            if held == NOT_TAKEN and tp[0] != self._context.pipeline.alerts_topic and self._context.room.is_free:
                held = None  # there is room, so the agent that should take them is stuck
            position = consumer.fetched_upto(TP(*tp))
            seen[tp] = PartitionLook(position, end and end.stable, end and end.log, held)
        self._say(self._dog.look(seen))
        if hopeless := [one for one in self._standstills if one.hopeless]:
            raise EngineStopped(f"{hopeless[0]}. {WHAT_TO_DO}")
        quiet = self._clock() - consumer.turned
        if general is None and quiet >= QUIET_SECONDS + LAST_CALL_SECONDS:
            raise EngineStopped(f"fetched records have not been handed on for {quiet:.0f} s. {WHAT_TO_DO}")

    def _known_trouble(self) -> str | None:
        """A known reason why nothing at all is read; None: there is none."""
        kafka = self._context.kafka
        if (seconds := self._context.lease.silent_seconds()) > kafka.request_seconds + HEARTBEATS_SECONDS:
            return f"Kafka has answered no heartbeat for {seconds:.0f} s"
        missing = self._context.rights.missing()
        return missing[0] if missing else None

    def _look_at_take_over(self) -> None:
        """End the worker when a take-over makes no progress although the group counts this worker as a member."""
        now = self._clock()
        moved = (self._ownership.session, self._app.consumer_generation_id, self._read())
        before, since = self._taking_over
        if moved != before or self._known_trouble() is not None or self._context.producer.waiting:
            self._taking_over = (moved, now)
        elif now - since >= TAKE_OVER_SECONDS:
            raise EngineStopped(f"partitions could not be taken over for {now - since:.0f} s. {WHAT_TO_DO}")

    def _read(self) -> int:
        """How much of the state was read: grows while a take-over makes progress."""
        kafka, states = self._context.kafka, self._context.states
        offsets: list[int | None] = list(self._app.tables.recovery.active_offsets.values())
        return sum(offset or 0 for offset in offsets) + sum(states.applied(n) for n in range(kafka.partitions))

    def _say(self, standstills: list[Standstill]) -> None:
        before = {_key(one) for one in self._standstills}
        self._standstills = standstills
        for one in standstills:
            if _key(one) not in before:
                say = log.warning if one.known else log.error
                say("records wait and are not read", topic=one.tp[0], partition=one.tp[1], why=one.why)
        for tp, why in before - {_key(one) for one in standstills}:
            log.info("records are read again, or wait for another reason", topic=tp[0], partition=tp[1], was=why)


def _key(standstill: Standstill) -> tuple[TopicPartition, str]:
    return standstill.tp, standstill.why
