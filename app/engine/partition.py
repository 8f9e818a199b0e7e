"""What the owner of one partition has under way.

The life of an event:
 1. ``take``: it is decoded. An invalid one goes to the dead-letter topic at once, beside all lanes.
 2. Its consumer's *lane* runs it when the event before it is durable (``lanes.py``, ``attempts.py``). Lanes run side by
    side.
 3. Settled: it is counted, durably; then its offset is closed (``settling.py``).
 4. Given up: the verdict is durable first, then the dead letter and the alert are sent, then it is settled.
 5. Parked (``parking.py``): it, and everything behind it, is copied to the retry topic. An event is parked

    * when an attempt failed for a reason that may pass;
    * without an attempt, when its target is down while others are up (it would take their room), or when it needs a
      right that is missing (``gates.py``);
    * when its consumer's lane holds the consumer's share of the room already (``Room.share``);
    * when its consumer is parked.
 6. Parked events of a consumer run lowest offset first, each when it is due and its copy was read back (``copies.py``),
    after those in the lane. When none is left, the consumer's next events run from the main topic again.

Invariants:

* When a consumer has a lane and is parked, everything in the lane is older than what is parked.
* A parked event runs only when every event before it was seen (``catching_up.py``).
* A copy in the retry topic counts only while the partition record lists its event as parked, or while the event is
  being forwarded.
* A main offset is closed only when its event is settled, or parked, durably.
* Nothing is sent for an event without a lease.
"""

from __future__ import annotations

import asyncio

import structlog

from app.delivery.errors import EVENT_VALUE_OMITTED
from app.delivery.foreign_letter import claimed_letter, is_republished
from app.delivery.headers import cut, lost_its_value
from app.delivery.outcome import InvalidEvent
from app.delivery.record import SourceRecord, day_of
from app.delivery.verdict import Verdict
from app.engine.attempts import Attempts
from app.engine.catching_up import CatchingUp
from app.engine.context import EngineContext, now_ms
from app.engine.copies import Copies
from app.engine.journal import Journal
from app.engine.lanes import Lanes
from app.engine.parked import ParkedConsumers
from app.engine.parking import Parking
from app.engine.partition_tasks import PartitionTasks
from app.engine.record_room import RecordRoom
from app.engine.redrive import Redrive
from app.engine.republished import Republished
from app.engine.settling import Settling
from app.observe.redaction import hash_consumer

log = structlog.get_logger(__name__)

# Between two warnings of a partition about timestamps: a producer with a wrong unit writes none that is right.
WARN_AGAIN_MS = 60_000


class Partition:
    """One owned partition in one generation.

    ``journal``: writes its durable record. ``tasks``: what runs for it. ``lanes``: events of the main topic that run or
    wait to. ``parked``: its parked consumers. ``copies``: their events in memory. ``redrive``: handles its dead
    letters. ``record_room``: what parked and given-up events may take in the record.
    """

    def __init__(
        self, number: int, context: EngineContext, tasks: PartitionTasks, journal: Journal, *, tasks_end: int = 0
    ) -> None:
        self.number = number
        self.generation = tasks.generation
        self.tasks = tasks
        self.journal = journal
        self.record_room = RecordRoom()
        self.parked = ParkedConsumers(context.room, self.record_room)
        self.copies = Copies(number, context, journal, self.parked)
        self._context = context
        self._rejecting: set[int] = set()
        self._warn_again = 0
        self._catching_up = CatchingUp(journal.state)
        self._settling = Settling(number, context, tasks, journal, self.record_room)
        attempts = Attempts(context, tasks, journal.consumers)
        self._parking = Parking(
            context,
            tasks,
            journal,
            consumers=self.parked,
            copies=self.copies,
            catching_up=self._catching_up,
            attempts=attempts,
            settling=self._settling,
            record_room=self.record_room,
            has_lane=lambda consumer: consumer in self.lanes,
        )
        self._republished = Republished(context, tasks, journal)
        self.redrive = Redrive(
            number,
            context,
            tasks,
            journal,
            parking=self._parking,
            parked=self.parked,
            copies=self.copies,
            settling=self._settling,
            record_room=self.record_room,
            tasks_end=tasks_end,
        )
        self.lanes = Lanes(
            tasks, journal, attempts=attempts, settling=self._settling, parking=self._parking, parked=self.parked
        )

    def start(self) -> None:
        """Go on with what the durable record says is parked, and carry out what operators wish."""
        self._parking.restore()
        self.tasks.spawn(self.redrive.run())

    # What the last owner left

    @property
    def catching_up(self) -> bool:
        """Whether the main topic must be read further before every parked event may run."""
        return self._catching_up.goes_on

    def saw(self, offset: int) -> None:
        """Everything in the main topic up to this offset was handed over."""
        if not self._catching_up.saw(offset):
            return
        if not self.catching_up:
            self.parked.wake_all()
        elif (entry := self.journal.state.parked.get(offset)) is not None:
            self.parked.wake(entry.consumer)

    def look_back(self, fetched_upto: int) -> None:
        """End the catching up if nothing comes any more that parked events wait for, although the last of them was not
        seen: reading began behind it, or it was deleted.

        Args:
            fetched_upto: the next offset of the main topic to fetch; every record before it is in the ledger.
        """
        waits = self._context.ledger.waiting((self._context.pipeline.topic, self.number)) is not None
        if self.catching_up and fetched_upto > self._catching_up.until and not waits:
            self.saw(self._catching_up.until)

    # What it answers for

    def main_offsets(self) -> set[int]:
        """Undecided offsets of the main topic: in a lane, being forwarded or rejected."""
        return {*self.lanes.offsets(), *self.copies.forwarding, *self._rejecting}

    def can_go_on(self) -> bool:
        """Whether the next event of some parked consumer is in memory, so that parked events will be settled."""
        return self._parking.can_go_on()

    # From the main topic

    def take(self, record: SourceRecord) -> None:
        """A record of the main topic arrived, in offset order. The ledger has it claimed, and it is undecided."""
        room = self._context.room
        room.enter()
        if not record.has_possible_time(now := now_ms()):
            record = self._dated(record, now)
        if record.headers and is_republished(record, record.topic) and not lost_its_value(record):
            self.tasks.spawn(self._settle_republished(record))
            return
        try:
            if record.headers and lost_its_value(record):
                raise InvalidEvent(EVENT_VALUE_OMITTED, "a dead letter without its value", event_id=record.id)
            work = self._context.flow.read(record)
        except InvalidEvent as problem:
            self.tasks.spawn(self._reject(record, problem))
            return
        if work.consumer in self.parked:
            self._parking.park(work, failing=False)
        elif (waiting := self.lanes.length(work.consumer)) and waiting >= room.share:
            log.info(
                "a consumer has more events than its share of the room; they wait in the retry topic",
                consumer=hash_consumer(work.consumer),
                partition=self.number,
                offset=work.record.offset,
            )
            self._parking.park(work, failing=False)
        else:
            self.lanes.add(work)

    def _dated(self, record: SourceRecord, now: int) -> SourceRecord:
        """A record whose timestamp cannot be right: it counts under the day on which it was taken."""
        if now >= self._warn_again:
            self._warn_again = now + WARN_AGAIN_MS
            log.warning(
                "a Kafka timestamp that cannot be right: the event counts under today; look at the producer's clock",
                partition=self.number,
                offset=record.offset,
                timestamp=record.timestamp_ms,
            )
        return record.counted_on(day_of(now))

    async def _reject(self, record: SourceRecord, problem: InvalidEvent) -> None:
        """Bury an invalid event. Its verdict is durable first, as for every event that is given up."""
        self._rejecting.add(record.offset)
        verdict = self.journal.state.verdicts.get(record.offset)
        if verdict is None:
            now = now_ms()
            settlement = self._context.flow.invalid(record, problem)
            kind = self._context.flow.fingerprint(settlement)
            verdict = Verdict(settlement, cut(problem.message), now, now, alert=False, fingerprint=kind)
            await self._settling.give_up(record.offset, verdict)
        await self._settling.bury(record, verdict)
        self._rejecting.discard(record.offset)
        self._settling.close_main(record.offset)

    async def _settle_republished(self, record: SourceRecord) -> None:
        self._rejecting.add(record.offset)
        await self._republished.settle(record, claimed_letter(record, record.topic))
        self._rejecting.discard(record.offset)
        self._settling.close_main(record.offset)

    # How it ends

    @property
    def draining(self) -> bool:
        """Whether no new work starts."""
        return self.tasks.draining

    def stop_taking(self) -> list[asyncio.Task[None]]:
        """Start no new work. Returns the tasks under way."""
        under_way = self.tasks.stop_taking()
        self.parked.wake_all()
        return under_way

    def abandon(self) -> None:
        """Nothing may be sent any more; the next owner does again what is not durable."""
        self.tasks.abandon()
