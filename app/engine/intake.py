"""What becomes of a fetched record: one handler for each topic that a worker reads.

A handler claims the record's offset in the ledger and passes the record on. Once a handler has claimed an offset, it
answers for it: the offset stays open until its event is settled or parked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from app.delivery.headers import NotOurCopy
from app.engine.arrivals import Arrival
from app.engine.context import EngineContext
from app.engine.ownership import Ownership

log = structlog.get_logger(__name__)

# Between two warnings about records of the retry topic that are not ours.
WARN_SECONDS = 60.0

AlertHandler = Callable[[bytes | None, bytes | None, int], Awaitable[None]]


class MainTopic:
    """Events: each goes to its partition, unless it is settled already."""

    def __init__(self, context: EngineContext, ownership: Ownership) -> None:
        self._context = context
        self._ownership = ownership
        self.topic = context.pipeline.topic

    async def handle(self, arrival: Arrival) -> None:
        """Take one event, when there is room for it."""
        record, generation, _ = arrival
        context, ownership = self._context, self._ownership
        number, offset = record.partition, record.offset
        tp = (self.topic, number)
        partition = ownership.current(number, generation)
        if partition is not None and not partition.catching_up and not context.room.is_free:
            await context.room.free()
            partition = ownership.current(number, generation)
        if partition is None or ownership.healing.overtakes(tp, offset):
            return
        copies = partition.copies
        if offset in copies.wanted:
            copies.wanted.discard(offset)
            copies.read_back(record, None)
        if not context.ledger.claim(tp, offset):
            copies.wanted.read_again(offset)
        elif partition.journal.state.decided(offset):
            context.ledger.close(tp, offset)
        else:
            try:
                partition.take(record)
            except Exception as error:  # noqa: BLE001 - a bug; end the worker rather than lose the event
                context.crash(error)
        partition.saw(offset)


class RetryTopic:
    """Copies of parked events: each goes to its partition. A record that is not a copy of ours is passed over."""

    def __init__(self, context: EngineContext, ownership: Ownership) -> None:
        self._context = context
        self._ownership = ownership
        self._foreign = ForeignRecords()
        self.topic = context.pipeline.retry_topic

    async def handle(self, arrival: Arrival) -> None:
        """Take one copy. If its log was lost since, it has no offset to claim, but its event still runs from it."""
        record, generation, log_number = arrival
        ledger, ownership = self._context.ledger, self._ownership
        number, offset = record.partition, record.offset
        tp = (self.topic, number)
        partition = ownership.current(number, generation)
        if partition is None:
            return
        gone = log_number != ledger.log(tp)
        if not gone and (ownership.healing.overtakes(tp, offset) or not ledger.claim(tp, offset)):
            return
        try:
            meant = partition.copies.take(record, gone=gone)
        except NotOurCopy as error:
            self._foreign.passed_over(number, offset, str(error))
            meant = False
        if not (meant or gone):
            ledger.close(tp, offset)


class AlertsTopic:
    """Alerts: each is handled before the next one.

    Args:
        on_alert: handles one record (key, value, partition); returns when the alert is safe.
    """

    def __init__(self, context: EngineContext, ownership: Ownership, on_alert: AlertHandler) -> None:
        self._context = context
        self._ownership = ownership
        self._on_alert = on_alert
        self.topic = context.pipeline.alerts_topic

    async def handle(self, arrival: Arrival) -> None:
        """Handle one alert. If its log was lost since, the topic no longer holds it: it is handled now or never."""
        record, _, log_number = arrival
        ledger, ownership = self._context.ledger, self._ownership
        number, offset = record.partition, record.offset
        tp = (self.topic, number)
        if tp not in ownership.gate:
            return
        if log_number == ledger.log(tp) and (ownership.healing.overtakes(tp, offset) or not ledger.claim(tp, offset)):
            return
        try:
            await self._on_alert(record.key, record.value, number)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug; the alert stays open and is read again after a restart
            self._context.crash(error)
            return
        if log_number == ledger.log(tp):
            ledger.close(tp, offset)


class ForeignRecords:
    """Warns, at most once a minute, about records of the retry topic that are not copies of ours. The topic may be full
    of them: from another group, or from before the main topic was created again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = float("-inf")
        self._not_reported = 0

    def passed_over(self, partition: int, offset: int, why: str) -> None:
        """One was passed over."""
        self._not_reported += 1
        if self._clock() >= self._next:
            self._next = self._clock() + WARN_SECONDS
            log.warning(
                "records of the retry topic are not ours; they are passed over",
                records=self._not_reported,
                partition=partition,
                offset=offset,
                why=why,
            )
            self._not_reported = 0
