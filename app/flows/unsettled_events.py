"""Whether a consumer may be judged now, or has events that are not settled yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence

from app.delivery.record import SourceRecord
from app.flows.verified_consumer import VerifiedConsumer, newest_record
from app.kafka.admin import KafkaAccessError
from app.kafka.topic_reader import SettledEvents
from app.profile.holdings.expected_state import failed_since, only_failed
from app.profile.holdings.findings import DriftFinding, Status
from app.readmodels import ReadModels, ReadModelUnavailable

FAILED = "a later event of it failed and may have written a part"

# The follower looks at its topics every half second.
FRESH_WITHIN_SECONDS = 15.0
LOOK_SECONDS = 0.05

# (partition, offset) of events, by consumer.
Places = Mapping[str, list[tuple[int, int]]]


class UnsettledEvents:
    """Finds events without an outcome: in the main topic, parked, or about to become dead letters."""

    def __init__(self, models: ReadModels, events: SettledEvents) -> None:
        self._models = models
        self._events = events
        self._reading = asyncio.Lock()  # one call of ``events`` at a time
        self._seen: dict[int, int] = {}  # by partition: everything in the main topic below this offset was looked at
        self._arrived: dict[tuple[int, bytes], int] = {}  # the last offset at which a consumer was found there

    async def look(self) -> None:
        """Note whose events are in the main topic without an outcome."""
        for partition, state in self._models.partitions().items():
            self._seen[partition] = state.upto + 1
            await self._look_at_arrivals(partition, state.decided_above)

    async def records(self, partition: int, offsets: Sequence[int]) -> dict[int, SourceRecord]:
        """The records of the main topic at these offsets, as far as they are still there."""
        async with self._reading:
            return await asyncio.to_thread(self._events.read, partition, offsets)

    def parked(self) -> Places:
        """Everything that is parked or about to become a dead letter."""
        found: dict[str, list[tuple[int, int]]] = {}
        for partition, state in self._models.partitions().items():
            for offset, event in state.parked.items():
                found.setdefault(event.consumer, []).append((partition, offset))
            for offset, verdict in state.verdicts.items():
                found.setdefault(verdict.settlement.consumer_id or "", []).append((partition, offset))
        return found

    def pending(self, subject: VerifiedConsumer, parked: Places) -> str | None:
        """Why a consumer cannot be judged; None: it can."""
        for partition, offset in parked.get(subject.consumer_id, ()):
            if partition != subject.partition or offset > subject.offset:
                return "an event of it waits for another attempt"
        for partition in self._seen:
            offset = self._arrived.get((partition, subject.consumer_id.encode()), -1)
            if offset > (subject.state.offset if partition == subject.partition else -1):
                return "an event of it is not settled yet"
        if failed_since(subject.state) and not only_failed(subject.state):
            return FAILED
        return None

    async def moved_on(self, subject: VerifiedConsumer) -> DriftFinding | None:
        """Read everything once more: why a consumer cannot be judged now; None: it can."""
        try:
            if not await self._fresh():
                return subject.found(Status.ERROR, "differs, but its record could not be read once more")
            await self._look_at_arrivals(subject.partition)
            if newest_record(self._models, subject.consumer_id) != subject:
                return subject.found(Status.PENDING, "an event of it was settled meanwhile")
            why = self.pending(subject, self.parked())
        except (KafkaAccessError, ReadModelUnavailable) as error:
            return subject.found(Status.ERROR, f"differs, but it could not be looked at once more: {error}")
        return subject.found(Status.PENDING, why) if why else None

    async def _fresh(self) -> bool:
        """Wait until the read models hold everything that is in Kafka now; False: they do not in time."""
        began = time.monotonic()
        while self._models.behind_seconds() > (waited := time.monotonic() - began):
            if waited > FRESH_WITHIN_SECONDS:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _look_at_arrivals(self, partition: int, decided: Collection[int] = ()) -> None:
        async with self._reading:
            await asyncio.to_thread(self._read_arrivals, partition, decided)

    def _read_arrivals(self, partition: int, decided: Collection[int]) -> None:
        """Note whose events have come to the main topic since the last look."""
        first, end = self._events.bounds(partition)
        for offset, key in self._events.keys(partition, max(first, self._seen.get(partition, first)), end):
            if key is not None and offset not in decided:
                self._arrived[partition, key] = offset
        self._seen[partition] = max(end, self._seen.get(partition, end))
