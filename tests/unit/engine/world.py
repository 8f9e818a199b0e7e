"""One partition in memory: topics, an owner made of the engine's own parts, and a crash at any write.

What is real: the handlers of ``intake.py``, ``Ownership``, ``Partition``, ``Journal``, ``Ledger``. What is fake: the
broker, the target, the group. A crash drops everything but what the broker has; the next owner starts from that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import Enum
from typing import Any

from app.delivery.closed_days import decode_document, document_keys, parse_document_key
from app.delivery.consumer_record import ConsumerState, parse_consumer_key
from app.delivery.counts import Counts, FailureCount, Settlement, added, cells
from app.delivery.dead_letter_record import DeadLetter, Holder, ValuePlace
from app.delivery.errors import (
    CMT_CLIENT_FAULT,
    CMT_NOT_ALLOWED,
    CMT_ROW_INVALID,
    CMT_SERVER_FAULT,
    EVENT_NOT_JSON,
    SYNC_COPY_LOST,
    SYNC_SUPERSEDED,
    ErrorEntry,
)
from app.delivery.fingerprint import Fingerprint
from app.delivery.headers import edited_headers
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import (
    Action,
    EditKey,
    Note,
    OperatorTask,
    Selection,
    TaskKey,
    decode_task,
    parse_tasks_key,
)
from app.delivery.outcome import Failure, InvalidEvent, NotPermitted, Outcome, Phase, Settle, TryAgain
from app.delivery.partition_record import PartitionState
from app.delivery.pipeline import Pipeline
from app.delivery.readmitted import Readmitted
from app.delivery.record import SourceRecord
from app.delivery.record_format import parse_partition_key
from app.delivery.verdict import Verdict, fingerprint_of
from app.engine.arrivals import Arrival, handle_arrivals
from app.engine.backpressure import Room
from app.engine.breaker import Breaker, Check
from app.engine.context import EngineContext, now_ms
from app.engine.flow import Follows, Permit, RecordDigests, Result, SeenTopics, Work
from app.engine.gates import Gates
from app.engine.intake import MainTopic, RetryTopic
from app.engine.lease import Lease
from app.engine.ledger import Ledger
from app.engine.ownership import Ownership
from app.engine.partition import Partition
from app.kafka.durable_producer import TooLarge, Write
from app.profile.consumer_history import after_settling
from app.profile.entities import EntityType
from app.settings import KafkaSettings, SyncSettings
from tests.unit.engine.fakes import FakeProducer, MemoryLetters, MemoryStates

PIPELINE = Pipeline("consumers", "main", "group")
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:9", partitions=1)
MAX_ATTEMPTS = 3
DAY = "2026-11-21"
TIME_MS = 1_760_000_000_000  # of every record: a past that any test run agrees on


class Lost(Enum):
    """What a crash in the middle of a write leaves of it."""

    NOTHING = "nothing"
    ALL = "all"  # written, never acknowledged
    FIRST = "first"  # of several records the first one
    LATE = "late"  # written after the next owner has taken over


@dataclass(frozen=True, slots=True)
class Event:
    """``script``: what becomes of it: ``ok``, ``once`` and ``twice`` (failing attempts), ``never`` (gets through),
    ``unanswered`` (the target fails on it), ``unwelcome`` (its calls are refused, as all are when nobody is let in),
    ``refused``, ``refused once`` (a second run would succeed), ``partial``, ``stopped`` (by the permit, the first
    time), ``needs`` (a right that may be missing), ``throttled`` (its call waits), ``bug``, ``invalid``,
    ``delete`` (of the profile).
    """

    consumer: str
    script: str = "ok"

    @property
    def outcome(self) -> Outcome:
        """How it must end."""
        return {
            "never": Outcome.FAILED,
            "unanswered": Outcome.FAILED,
            "unwelcome": Outcome.FAILED,
            "refused": Outcome.FAILED,
            "bug": Outcome.FAILED,
            "partial": Outcome.PARTIAL,
            "invalid": Outcome.INVALID,
        }.get(self.script, Outcome.SYNCED)

    @property
    def value(self) -> bytes:
        """What stands in the main topic."""
        return f"{self.consumer}|{self.script}".encode()

    @property
    def dead_letter(self) -> bool:
        return self.outcome in (Outcome.FAILED, Outcome.INVALID)


class MortalProducer(FakeProducer):
    """Dies at a given write: from then on nothing is written and nobody gets an answer."""

    def __init__(self, topics: dict[str, list[Write]]) -> None:
        super().__init__()
        self.topics = topics
        self.writes = 0
        self.dies_at: int | None = None
        self.lost = Lost.NOTHING
        self.closed_topics: set[str] = set()  # they take no writes for now
        self.late: list[Write] = []
        self.dead = asyncio.Event()

    async def write(self, records: Iterable[Write]) -> list[int]:
        batch = list(records)
        if not batch:
            return []
        if any(record.topic in self.refused_topics for record in batch):
            raise TooLarge("refused")
        await self._go.wait()
        while any(record.topic in self.closed_topics for record in batch):
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # other tasks run while a write is on its way
        if self.dies_at is not None and self.writes >= self.dies_at and not self.dead.is_set():
            self.dead.set()
            self._append({Lost.ALL: batch, Lost.FIRST: batch[:1]}.get(self.lost, []))
            self.late = batch if self.lost is Lost.LATE else []
        if self.dead.is_set():
            await asyncio.Event().wait()
        self.writes += 1
        return self._append(batch)

    def _append(self, batch: Sequence[Write]) -> list[int]:
        offsets = []
        for record in batch:
            self.written.append(record)
            topic = self.topics.setdefault(record.topic, [])
            topic.append(record)
            offsets.append(len(topic) - 1)
        return offsets


class SteadyLease(Lease):
    """Holds unless a test takes it away."""

    def __init__(self) -> None:
        super().__init__(valid_seconds=1.0)
        self.held = True

    def holds(self, generation: int) -> bool:
        return self.held

    def renewed_since(self, generation: int, moment: float) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _Brokers:
    """The topics as the brokers see them."""

    world: World

    async def look(self) -> SeenTopics:
        return SeenTopics({}, "", {0: self.world.begin}, {})

    async def record_digests(self, wanted: Mapping[int, Collection[int]]) -> Mapping[int, RecordDigests]:
        return {}

    def recorded(self) -> tuple[()]:
        return ()


class WorldTasks:
    """The topic of tasks, read to its end at every question."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def catch_up(self, end: int) -> None:
        """Nothing to wait for."""

    def running(self, partition: int) -> list[OperatorTask]:
        tasks, over = [], set()
        for record in self._world.topics.get(PIPELINE.tasks_topic, []):
            key = parse_tasks_key(record.key or b"")
            if isinstance(key, EditKey):
                continue
            if not key.part and record.value is not None:
                tasks.append(decode_task(key.task, record.value))
            elif key.part == "cancel" or (key.part, key.partition) == ("end", partition):
                over.add(key.task)
        return [task for task in tasks if task.id not in over]

    def note(self, task: str) -> str:
        return f"note of {task}"

    def edit(self, letter: LetterId) -> int | None:
        keys = [parse_tasks_key(record.key or b"") for record in self._world.topics.get(PIPELINE.tasks_topic, [])]
        offsets = [key.offset for key in keys if isinstance(key, EditKey) and key.letter == letter]
        return max(offsets, default=None)

    def edit_keys(self, letter: LetterId) -> list[bytes]:
        keys = [record.key or b"" for record in self._world.topics.get(PIPELINE.tasks_topic, []) if record.value]
        edits = [parse_tasks_key(key) for key in keys]
        return [one.encode() for one in edits if isinstance(one, EditKey) and one.letter == letter]

    def forgettable(self, before_ms: int) -> list[tuple[bytes, ...]]:
        running = {task.id for task in self.running(0)}
        known = [parse_tasks_key(record.key or b"") for record in self._world.topics.get(PIPELINE.tasks_topic, [])]
        return [
            (one.encode(),) for one in known if isinstance(one, TaskKey) and not one.part and one.task not in running
        ]


class WorldValues:
    """Reads dead letters by position."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self, partition: int, places: Mapping[int, ValuePlace]) -> dict[int, SourceRecord]:
        await asyncio.sleep(0)
        found = {}
        for offset, place in places.items():
            topic = PIPELINE.dlq_topic if place.holder is Holder.DLQ else PIPELINE.topic
            if (topic, place.offset) in self._world.gone:
                continue
            record = self._world.topics[topic][place.offset]
            found[offset] = SourceRecord(PIPELINE.topic, 0, offset, TIME_MS, record.key, record.value)
        return found

    async def read_foreign(self, partition: int, offsets: Sequence[int]) -> dict[int, SourceRecord]:
        await asyncio.sleep(0)
        return {offset: record for offset, record in enumerate(self._dlq()) if offset in offsets}

    async def read_on(self, partition: int, start: int) -> tuple[list[SourceRecord], int]:
        await asyncio.sleep(0)
        records = self._dlq()[start : start + 3]
        return records, start + len(records)

    def _dlq(self) -> list[SourceRecord]:
        topic = PIPELINE.dlq_topic
        records = self._world.topics.get(topic, [])
        return [SourceRecord(topic, 0, at, TIME_MS, r.key, r.value, r.headers) for at, r in enumerate(records)]


@dataclass
class ScriptedFlow:
    """Does what an event's script says, and notes every effect: (consumer, offset, attempt) in order."""

    effects: list[tuple[str, int, int]] = field(default_factory=list)
    under_way: Counter[str] = field(default_factory=Counter)
    gate: asyncio.Event | None = None  # a test may hold back what is under way
    gated_from: int = 1  # attempts before this one pass
    retry_after: float | None = None  # what failing attempts ask for
    throttled_seconds: float = 3600.0  # what calls of ``throttled`` events wait for
    late_seconds: float = 0.0  # for how long a call of an attempt that was not answered may still be carried out
    breakers: Mapping[str, Breaker] = field(default_factory=dict)  # each hears of three calls an attempt
    right_is_there: bool = True  # that ``needs`` events need
    target_is_up: bool = True  # of all targets
    nobody_is_let_in: bool = False  # every call is refused, in a way that may be the event's own fault
    down: set[str] = field(default_factory=set)  # some of them
    told: list[tuple[int, int, Follows]] = field(default_factory=list)  # (offset, attempt, what follows)
    mended_consumers: list[str] = field(default_factory=list)
    mend_gate: asyncio.Event | None = None
    mended: bool = False  # what failed before succeeds now
    older_after_newer: list[int] = field(default_factory=list)  # effects that should have been superseded

    def read(self, record: SourceRecord) -> Work:
        consumer, script = (record.value or b"").decode().split("|")
        if script == "invalid" and not self.mended:
            raise InvalidEvent(EVENT_NOT_JSON, "not JSON", event_id=record.id)
        return Work(record, consumer, f"event-{record.offset}", Event(consumer, script))

    def invalid(self, record: SourceRecord, problem: InvalidEvent) -> Settlement:
        consumer = (record.key or b"").decode() or None
        return Settlement(
            consumer, problem.event_id, "-", "-", record.counted_day or DAY, Outcome.INVALID, reason=problem.entry.code
        )

    def target(self, work: Work, state: ConsumerState | None) -> str:
        """``anna@b`` goes to target ``b``."""
        return target_of(work.consumer)

    def kind(self, work: Work, state: ConsumerState | None) -> str:
        """Whether it needs the right."""
        return "needs" if work.payload.script == "needs" else "other"

    async def run(self, work: Work, *, attempt: int, last: bool, state: ConsumerState | None, permit: Permit) -> Result:
        permit()
        if state is not None and state.full is not None and state.full.offset > work.record.offset and not work.forced:
            decision = Settle(Outcome.SUPERSEDED)
            return Result(decision, self._settlement(work, attempt, Outcome.SUPERSEDED, SYNC_SUPERSEDED.code))
        self.under_way[work.consumer] += 1
        assert self.under_way[work.consumer] == 1, f"two events of {work.consumer} at a time"
        try:
            self.effects.append((work.consumer, work.record.offset, attempt))
            await asyncio.sleep(0)
            if self.gate is not None and attempt >= self.gated_from:
                await self.gate.wait()
            if work.payload.script == "throttled":
                await permit.wait(self.throttled_seconds)
                permit()
            if work.payload.script == "stopped" and self.late_seconds:
                permit.may_land_late(self.late_seconds)
                self.late_seconds = 0.0
                raise NotPermitted
            return self._result(work, attempt, last, permit)
        finally:
            self.under_way[work.consumer] -= 1

    def _result(self, work: Work, attempt: int, last: bool, permit: Permit) -> Result:
        script = "ok" if self.mended else work.payload.script
        breaker, target = self.breakers.get(target_of(work.consumer)), target_of(work.consumer)
        if breaker is not None:
            if not self.target_is_up or target in self.down or script == "unanswered":
                for _ in range(3):
                    breaker.failed()
                permit.may_land_late(self.late_seconds)
                failure = Failure(CMT_SERVER_FAULT.code, "no answer", EntityType.CONSUMER, Phase.PARENT)
                result = self._settled(work, attempt, failure) if last else Result(TryAgain(failure))
                return replace(result, target_failed=True, failures=(failure,))
            if self.nobody_is_let_in or script == "unwelcome":
                failure = Failure(CMT_CLIENT_FAULT.code, "refused", EntityType.CONSUMER, Phase.PARENT)
                return replace(self._settled(work, attempt, failure), refused=True, failures=(failure,))
            breaker.succeeded()
        if script == "needs" and not self.right_is_there:
            failure = Failure(CMT_NOT_ALLOWED.code, "no right", EntityType.CONSUMER, Phase.BEFORE_PARENT)
            return Result(TryAgain(failure), blocked=True, failures=(failure,))
        if script == "bug":
            permit.may_land_late(self.late_seconds)
            raise RuntimeError("a bug of the flow")
        failing = {"once": 1, "twice": 2, "never": MAX_ATTEMPTS}.get(script, 0)
        transient = Failure(CMT_SERVER_FAULT.code, "later", EntityType.CONSUMER, Phase.PARENT, self.retry_after)
        if attempt <= failing:
            return self._settled(work, attempt, transient) if last else Result(TryAgain(transient))
        again = any(offset == work.record.offset for _, offset, _ in self.effects[:-1])
        if script == "refused" or (script == "refused once" and not again):
            return self._settled(work, attempt, Failure(CMT_ROW_INVALID.code, "no", EntityType.CONSUMER, Phase.PARENT))
        outcome = Outcome.PARTIAL if script == "partial" else Outcome.SYNCED
        if script == "partial":
            permit.may_land_late(self.late_seconds)
        return Result(Settle(outcome), self._settlement(work, attempt, outcome, None))

    def failed(self, work: Work, result: Result, attempt: int, follows: Follows, state: ConsumerState | None) -> None:
        self.told.append((work.record.offset, attempt, follows))

    def gave_up(self, work: Work, entry: ErrorEntry, message: str, attempt: int) -> Result:
        return self._settled(work, attempt, Failure(entry.code, message, EntityType.CONSUMER, Phase.PARENT))

    def lost(
        self, record: SourceRecord, consumer: str, event_id: str, state: ConsumerState | None, attempt: int
    ) -> Result:
        work = Work(record, consumer, event_id, Event(consumer))
        return self.gave_up(work, SYNC_COPY_LOST, "gone", attempt)

    def home(self, state: ConsumerState | None) -> str:
        return "target"

    async def mend(
        self, consumer: str, partition: int, state: ConsumerState | None, record: SourceRecord | None, permit: Permit
    ) -> str:
        permit()
        self.under_way[consumer] += 1
        assert self.under_way[consumer] == 1, f"an event of {consumer} runs beside a repair"
        try:
            self.mended_consumers.append(consumer)
            await asyncio.sleep(0)
            if self.mend_gate is not None:
                await self.mend_gate.wait()
            return "unknown" if state is None else "ok" if record is None else "repaired"
        finally:
            self.under_way[consumer] -= 1

    def after_settling(
        self, before: ConsumerState | None, offset: int, settlement: Settlement, settled_ms: int
    ) -> ConsumerState:
        return after_settling(before, offset, settlement, settled_ms)

    def fingerprint(self, settlement: Settlement) -> Fingerprint:
        return fingerprint_of(settlement)

    def alert(self, record: SourceRecord, verdict: Verdict) -> tuple[bytes, bytes]:
        return b"fingerprint", record.id.encode()

    def _settled(self, work: Work, attempt: int, failure: Failure) -> Result:
        decision = Settle(Outcome.FAILED, failure, dead_letter=True, alert=True)
        return Result(decision, self._settlement(work, attempt, Outcome.FAILED, failure.code))

    def _settlement(self, work: Work, attempt: int, outcome: Outcome, reason: str | None) -> Settlement:
        failures = (FailureCount("consumer", reason),) if reason and outcome is Outcome.FAILED else ()
        erases = work.payload.script == "delete" and outcome is Outcome.SYNCED
        return Settlement(
            work.consumer,
            work.event_id,
            "NEW",
            "DE",
            work.record.counted_day or DAY,
            outcome,
            reason,
            attempt,
            full_state=True,
            failures=failures,
            erases=erases,
        )


def target_of(consumer: str) -> str:
    """Where a consumer's events go."""
    return consumer.partition("@")[2] or "target"


class World:
    """Topics that outlive owners, and at most one owner at a time."""

    def __init__(
        self,
        events: Sequence[Event],
        *,
        concurrency: int = 4,
        max_parked: int = 1_000,
        breaker_failures: int = 0,
        most_throttled: int = 64,
        probe_seconds: float = 0.001,
    ) -> None:
        self.events: list[Event] = []
        self.topics: dict[str, list[Write]] = {PIPELINE.topic: []}
        self.publish(*events)
        self.committed = {PIPELINE.topic: 0, PIPELINE.retry_topic: 0}
        self.flow = ScriptedFlow()
        self.generation = 0
        self.concurrency = concurrency
        self.max_parked = max_parked
        self.breaker_failures = breaker_failures
        self.dry_run = False
        self.most_throttled = most_throttled
        self.probe_seconds = probe_seconds
        self.check: Check | None = None
        self.today = date.fromisoformat(DAY)  # a later day moves what is counted into a document
        self.deleted: set[int] = set()  # events that are gone from the main topic
        self.timestamps: dict[int, int] = {}  # of events that have another one
        self.dropped: set[tuple[str, int]] = set()  # (topic, offset) that Faust loses once
        self.bugs: list[BaseException] = []
        self.observed: list[Outcome] = []
        self.lost_logs: set[str] = set()  # topics whose log was lost, until the client notices
        self.gone: set[tuple[str, int]] = set()  # bytes of dead letters that retention deleted: (topic, offset)
        self.dlq_keep_days = 90
        self.handled_outcomes: list[Outcome] = []
        self.begin = 0  # of the main topic: retention may have deleted what stood before

    # An owner's life

    async def start(self, *, dies_at: int | None = None, lost: Lost = Lost.NOTHING) -> None:
        """A new owner takes over; ``dies_at``: at which of its writes it dies."""
        self.generation += 1
        self.ledger, self.lease = Ledger(), SteadyLease()
        self.positions = dict(self.committed)
        self.rewound = False
        self._rewinds: dict[str, int] = {}
        self.producer = MortalProducer(self.topics)
        self.producer.dies_at, self.producer.lost = dies_at, lost
        targets = {"target"} if self.breaker_failures == 0 else {target_of(event.consumer) for event in self.events}
        self.breakers = {
            name: Breaker(
                self.breaker_failures, self.probe_seconds, most_throttled=self.most_throttled, check=self.check
            )
            for name in sorted(targets)
        }
        self.flow.breakers = self.breakers if self.breaker_failures else {}
        self.context = EngineContext(
            pipeline=PIPELINE,
            kafka=KAFKA,
            sync=SyncSettings(
                max_attempts=MAX_ATTEMPTS,
                backoff_base_seconds=0,
                concurrency=self.concurrency,
                max_parked=self.max_parked,
                dry_run=self.dry_run,
            ),
            flow=self.flow,
            producer=self.producer,  # type: ignore[arg-type]
            ledger=self.ledger,
            lease=self.lease,
            states=self._states(),
            observer=self,
            topics=_Brokers(self),
            breakers=self.breakers,
            slots=asyncio.Semaphore(self.concurrency),
            room=Room(4 * self.concurrency, self.max_parked),
            crash=self.bugs.append,
            today=lambda: self.today,
            dlq_keep_days=self.dlq_keep_days,
            archive_seconds=0.0,
            gates=Gates(self.probe_seconds),
            letters=self.letters(),
            operator_tasks=WorldTasks(self),
            letter_values=WorldValues(self),
        )
        self.ownership = Ownership(self.context, self._table(), drain_seconds=5.0, stall_seconds=1e-9)
        self.tasks = [asyncio.create_task(self._take_over_and_read())]

    async def _take_over_and_read(self) -> None:
        owned = [(PIPELINE.topic, 0), (PIPELINE.retry_topic, 0), (PIPELINE.state_topic, 0)]

        async def ends(tps: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
            return {tp: len(self.topics.get(tp[0], [])) for tp in tps}

        await self.ownership.take_over(self.generation, owned, lambda: True, ends)
        main, retry = MainTopic(self.context, self.ownership), RetryTopic(self.context, self.ownership)
        self.tasks += [
            asyncio.create_task(handle_arrivals(self._inbox(PIPELINE.topic), main.handle)),
            asyncio.create_task(handle_arrivals(self._inbox(PIPELINE.retry_topic), retry.handle)),
        ]

    @property
    def breaker(self) -> Breaker:
        """Of the target that events go to without saying so."""
        return self.breakers["target"]

    @property
    def partition(self) -> Partition:
        return self.ownership.partitions[0]

    def publish(self, *events: Event) -> None:
        """More of them."""
        self.events += events
        self.topics[PIPELINE.topic] += [Write(PIPELINE.topic, 0, e.consumer.encode(), e.value) for e in events]

    def commit(self) -> None:
        """As Faust does once a second."""
        for topic in self.committed:
            offset = self.ledger.committable((topic, 0))
            if offset is not None:
                assert offset >= self.committed[topic] or self.rewound, "a commit went back"
                self.committed[topic] = offset

    async def run(self, *, within: int = 20_000, looking: bool = False) -> bool:
        """Until everything is settled and closed (True), or the owner died (False). ``within``: steps of the loop.

        ``looking``: for stalls too, now and then; what is suspicious twice in a row counts as stalled.
        """
        for step in range(within):
            assert not self.bugs, self.bugs
            if self.producer.dead.is_set():
                return False
            if self.is_done():
                return True
            if step % 7 == 0:
                self.commit()
            if looking and step % 300 == 299:
                self.look()
            await asyncio.sleep(0 if step % 50 else 0.0001)
        raise AssertionError(f"stuck: {self.outcomes()}, committed {self.committed}, effects {self.flow.effects[-9:]}")

    def is_done(self) -> bool:
        """Everything is counted, and nothing is left to be read again."""
        main, retry = ((topic, 0) for topic in (PIPELINE.topic, PIPELINE.retry_topic))
        if (self.ledger.committable(main) or self.committed[PIPELINE.topic]) != len(self.events):
            return False
        copies = len(self.topics.get(PIPELINE.retry_topic, []))
        if (self.ledger.committable(retry) or self.committed[PIPELINE.retry_topic]) != copies:
            return False
        return sum(self.outcomes().values()) == len(self.events)

    async def stop(self) -> None:
        """Leave as a worker that is asked to."""
        await self.ownership.drain()
        self.commit()
        await self._end_tasks()

    async def die(self) -> None:
        """Everything in memory is gone; the offsets of the last commit stay."""
        partitions = list(self.ownership.partitions.values())
        for partition in partitions:
            partition.abandon()
        await asyncio.sleep(0)  # what was only just started notices
        for partition in partitions:
            for task in list(partition.tasks.running):
                task.cancel()
        await self._end_tasks()
        self.flow.under_way.clear()

    async def _end_tasks(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for _ in range(5):
            await asyncio.sleep(0)

    def arrive_late(self, late: Sequence[Write]) -> None:
        """A dead owner's last write turns up after all."""
        for record in late:
            self.topics.setdefault(record.topic, []).append(record)

    # What the broker gives

    def lose_log(self, topic: str) -> None:
        """The topic is there, its records are gone."""
        self.topics.get(topic, []).clear()
        self.lost_logs.add(topic)

    def _inbox(self, topic: str) -> asyncio.Queue[Arrival]:
        """An agent's queue: records from the committed offset on, opened in the ledger as they come."""
        generation, first = self.generation, self.committed[topic]

        async def fetch() -> None:
            offset = first
            while True:
                log = self.topics.setdefault(topic, [])
                if offset > len(log) or (topic in self.lost_logs and offset):  # the client goes on at its beginning
                    self.ownership.logs.begin_again((topic, 0), offset, 0)
                    offset = 0
                self.lost_logs.discard(topic)
                offset = self.positions[topic] = self._rewound(topic, offset)
                if offset < len(log) and (topic, 0) in self.ownership.fetchable([(topic, 0)]):
                    if topic == PIPELINE.topic and offset in self.deleted:
                        offset += 1
                        continue
                    record = log[offset]
                    self.ledger.fetched((topic, 0), [offset])
                    if (topic, offset) in self.dropped:
                        self.dropped.discard((topic, offset))
                        offset += 1
                        continue
                    time_ms = self.timestamps.get(offset, TIME_MS) if topic == PIPELINE.topic else TIME_MS
                    arrived = SourceRecord(topic, 0, offset, time_ms, record.key, record.value, record.headers)
                    await queue.put((arrived, generation, self.ledger.log((topic, 0))))
                    offset += 1
                await asyncio.sleep(0)

        queue: asyncio.Queue[Arrival] = asyncio.Queue(maxsize=1)
        self.tasks.append(asyncio.create_task(fetch()))
        return queue

    def _rewound(self, topic: str, offset: int) -> int:
        rewinds = {tp[0]: to for tp, to in self.ownership.healing.rewinds().items()}
        self.rewound = self.rewound or any(to < self.committed[name] for name, to in rewinds.items())
        self._rewinds |= rewinds
        return self._rewinds.pop(topic, offset)

    def look(self) -> None:
        """As the worker does once a second."""
        self.ownership.look_back(lambda tp: self.positions[tp[0]])
        self.ownership.look(lambda tp: self.positions[tp[0]] >= len(self.topics.get(tp[0], [])))

    def _table(self) -> dict[bytes, bytes]:
        table: dict[bytes, bytes] = {}
        for record in self.topics.get(PIPELINE.state_topic, []):
            assert record.key is not None
            if record.value is None:
                table.pop(record.key, None)
            else:
                table[record.key] = record.value
        return table

    def _states(self) -> MemoryStates:
        """As the follower would know them: of each consumer the record of the highest epoch."""
        states = MemoryStates()
        for record in self.topics.get(PIPELINE.consumers_topic, []):
            partition, epoch, consumer = parse_consumer_key(record.key or b"")
            known = states.known.get((partition, consumer))
            if known is not None and known[0] > epoch:
                continue
            if record.value is None:
                states.known.pop((partition, consumer), None)
            else:
                states.known[partition, consumer] = (epoch, ConsumerState.decode(record.value))
        return states

    # What came of it

    def settled(self, settlement: Settlement, record: SourceRecord) -> None:
        """The engine's observer."""
        self.observed.append(settlement.outcome)

    def handled(self, settlement: Settlement, again: Readmitted) -> None:
        """The engine's observer."""
        self.handled_outcomes.append(settlement.outcome)

    def foreign(self, letter: str) -> None:
        """The engine's observer."""

    def cut_off(self, partition: int, first: int, begin: int, events: int) -> None:
        """The engine's observer."""

    def state(self) -> PartitionState:
        """The durable record that counts."""
        table = self._table()
        if not table:
            return PartitionState()
        newest = max(
            (key for key in table if parse_document_key(key) is None), key=lambda key: parse_partition_key(key)[1]
        )
        return PartitionState.decode(table[newest])

    def counts(self) -> Counts:
        """What is counted durably, closed days included."""
        state, table = self.state(), self._table()
        total = state.counts
        for key in document_keys(0, state):
            total = added(total, decode_document(table[key]))
        return total

    def outcomes(self) -> dict[str, int]:
        """Events by outcome, as counted durably."""
        sums: Counter[str] = Counter()
        for cell in cells([self.counts()]):
            if cell.kind == "events":
                sums[cell.key[0]] += cell.numbers[0]
        return dict(sums)

    def letters(self) -> MemoryLetters:
        """The dead-letter records, as a follower knows them."""
        letters = MemoryLetters()
        for record in self.topics.get(PIPELINE.letters_topic, []):
            letters.apply(record)
        return letters

    def letter(self, offset: int) -> DeadLetter:
        """The record of one dead letter."""
        return self.letters().known[LetterId(0, offset)].record

    def wish(
        self, task_id: str, action: Action = Action.REDRIVE, *offsets: int, foreign: bool = False, **more: Any
    ) -> None:
        """An operator makes a task, for some dead letters or for all."""
        selection = Selection(tuple(LetterId(0, offset, foreign=foreign) for offset in offsets))
        task = OperatorTask(task_id, action, selection, now_ms(), "me", **more)
        self._tell(TaskKey(task_id).encode(), task.encode())

    def cancel(self, task_id: str) -> None:
        """An operator cancels a task."""
        self._tell(TaskKey(task_id, "cancel").encode(), Note("me", now_ms()).encode())

    def edit(self, offset: int, event: Event) -> None:
        """An operator gives a dead letter other bytes."""
        dlq = self.topics.setdefault(PIPELINE.dlq_topic, [])
        key = self.topics[PIPELINE.topic][offset].key  # it never changes
        record = SourceRecord(PIPELINE.topic, 0, offset, TIME_MS, key, event.value)
        dlq.append(Write(PIPELINE.dlq_topic, 0, record.key, record.value, edited_headers(record)))
        self._tell(EditKey(LetterId(0, offset), len(dlq) - 1).encode(), Note("me", now_ms()).encode())

    def _tell(self, key: bytes, value: bytes) -> None:
        self.topics.setdefault(PIPELINE.tasks_topic, []).append(Write(PIPELINE.tasks_topic, 0, key, value))

    def tasks_are_over(self) -> bool:
        """Whether nothing is being handled any more, and every task has ended."""
        state = self.state()
        return not (state.readmitted or state.erasing or WorldTasks(self).running(0))

    def dead_letters(self) -> list[int]:
        """Source offsets of the dead letters, in the order in which they were written."""
        headers = [dict(record.headers) for record in self.topics.get(PIPELINE.dlq_topic, [])]
        return [int(header["x-sync-source-offset"] or b"") for header in headers]

    def attempts_of(self, offset: int) -> list[int]:
        return [attempt for _, of, attempt in self.flow.effects if of == offset]

    def order_of(self, consumer: str) -> list[int]:
        """The offsets of a consumer's effects, in order, repeats left out."""
        order: list[int] = []
        for name, offset, _ in self.flow.effects:
            if name == consumer and (not order or order[-1] != offset):
                order.append(offset)
        return order
