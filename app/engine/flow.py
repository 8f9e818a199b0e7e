"""What the engine asks of a flow, and of what surrounds it.

The engine moves events and keeps their order and their counts. A flow says what an event means and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import Settlement
from app.delivery.errors import ErrorEntry
from app.delivery.fingerprint import Fingerprint
from app.delivery.outcome import Failure, InvalidEvent, Settle, TryAgain
from app.delivery.permit import Permit
from app.delivery.pipeline_identity import PipelineIdentity, Role
from app.delivery.readmitted import Readmitted
from app.delivery.record import SourceRecord
from app.delivery.record_digest import RecordDigest
from app.delivery.value_class import value_class
from app.delivery.verdict import Verdict

__all__ = ["ConsumerStates", "Flow", "Follows", "Observer", "Permit", "Result", "StatesUnavailable", "Work"]


@value_class(frozen=True, slots=True)
class Work:
    """One valid event. ``payload`` belongs to the flow. ``forced``: it runs even if a later state was written."""

    record: SourceRecord
    consumer: str
    event_id: str
    payload: Any
    forced: bool = False


@value_class(frozen=True, slots=True)
class Result:
    """The result of an attempt: try again, or settle with these counts."""

    decision: TryAgain | Settle
    settlement: Settlement | None = None  # present if the decision is to settle
    target_failed: bool = False  # a call failed because of the target's health, not because of the event
    target_down: bool = False  # it failed in a way that affects every call
    refused: bool = False  # a call failed because of the event, or in a way that affects every call: a check decides
    blocked: bool = False  # a right is missing that all events of this kind need
    failures: tuple[Failure, ...] = ()

    @property
    def may_be_an_outage(self) -> bool:
        """Whether the failure may have another cause than the event."""
        return self.target_failed or self.refused


class Follows(Enum):
    """What follows an attempt with failures."""

    DECISION = auto()  # what the result says; the attempt counts
    WAITS_FOR_TARGET = auto()
    WAITS_FOR_RIGHT = auto()


class Flow(Protocol):
    """The meaning of events."""

    def read(self, record: SourceRecord) -> Work:
        """Decode and check a record. The same record always gives the same result.

        Raises:
            InvalidEvent: the record holds no valid event.
        """

    def invalid(self, record: SourceRecord, problem: InvalidEvent) -> Settlement:
        """How an invalid record counts."""

    def target(self, work: Work, state: ConsumerState | None) -> str:
        """The name of the event's target, whose breaker is asked first. ``state`` is the consumer record."""

    def kind(self, work: Work, state: ConsumerState | None) -> str:
        """The kind of the event: the same for events that need the same rights at their target."""

    async def run(self, work: Work, *, attempt: int, last: bool, state: ConsumerState | None, permit: Permit) -> Result:
        """Do what the event asks for. ``state`` is the consumer record. Raises only what ``permit`` raises."""

    def failed(self, work: Work, result: Result, attempt: int, follows: Follows, state: ConsumerState | None) -> None:
        """Log what failed in ``run``. Called when it is known what follows."""

    def gave_up(self, work: Work, entry: ErrorEntry, message: str, attempt: int) -> Result:
        """How an event counts that the engine gives up."""

    def lost(
        self, record: SourceRecord, consumer: str, event_id: str, state: ConsumerState | None, attempt: int
    ) -> Result:
        """How a parked event counts whose record is gone. ``record`` has no value; ``state`` is the consumer record."""

    def home(self, state: ConsumerState | None) -> str:
        """The name of the target that holds a consumer; ``state``: its record."""

    async def mend(
        self, consumer: str, partition: int, state: ConsumerState | None, record: SourceRecord | None, permit: Permit
    ) -> str:
        """Compare what the target holds of a consumer with its record, and write what differs. No event of the consumer
        runs meanwhile.

        Args:
            record: of the main topic, at the offset of the last full state; None: there is none, or it is gone.

        Returns what came of it, in one word for the counts of the task. Raises only what ``permit`` raises.
        """

    def after_settling(
        self, before: ConsumerState | None, offset: int, settlement: Settlement, settled_ms: int
    ) -> ConsumerState:
        """The consumer record after one more of its events was settled. Applying it twice changes nothing more."""

    def fingerprint(self, settlement: Settlement) -> Fingerprint:
        """What failed, of an event that was given up."""

    def alert(self, record: SourceRecord, verdict: Verdict) -> tuple[bytes, bytes]:
        """Key and value of the alert that makes an incident of a verdict."""


AfterSettling = Callable[[ConsumerState | None, int, Settlement, int], ConsumerState]  # Flow.after_settling


class StatesUnavailable(Exception):
    """The consumer records cannot be read right now. ``ConsumerStates.available`` returns when they can."""


class ConsumerStates(Protocol):
    """The durable consumer records, as a follower of their topic has read them."""

    async def catch_up(self, partition: int, end: int) -> None:
        """Return when everything below offset ``end`` of the topic's partition has been read."""

    def get(self, partition: int, consumer_id: str) -> tuple[int, ConsumerState] | None:
        """(epoch, state) of a consumer.

        Raises:
            StatesUnavailable: the records are being read in again.
        """

    def erased(self, consumer_id: str) -> bool:
        """Whether the profile of a consumer was ever deleted, by what any partition has settled and was read so far.

        Raises:
            StatesUnavailable: the records are being read in again.
        """

    async def available(self, partition: int) -> None:
        """Return when ``get`` can answer again."""

    def applied(self, partition: int) -> int:
        """The offset of the topic's partition below which everything has been read."""


class TopicsUnknown(Exception):
    """The brokers do not describe the topics; the text says why."""


@value_class(frozen=True, slots=True)
class SeenTopics:
    """What the brokers say about the topics.

    ``ids``: topic IDs, where the broker gives them. ``begins``, ``ends``: of each partition of the main topic.
    ``uneven``: a line for each topic with a wrong number of partitions.
    """

    ids: Mapping[Role, str]
    state_id: str
    begins: Mapping[int, int]
    ends: Mapping[int, int]
    uneven: Sequence[str] = ()


# Offset -> the digest of its record; None: there is no such record (compaction). Unknown offsets are left out.
RecordDigests = Mapping[int, RecordDigest | None]


class Topics(Protocol):
    """The topics of the pipeline as the brokers see them."""

    async def look(self) -> SeenTopics:
        """Ask the brokers.

        Raises:
            TopicsUnknown: no answer, or a topic is missing.
        """

    async def record_digests(self, wanted: Mapping[int, Collection[int]]) -> Mapping[int, RecordDigests]:
        """The digests of the records at these offsets of the main topic's partitions.

        Raises:
            TopicsUnknown: no answer.
        """

    def recorded(self) -> Collection[PipelineIdentity | None]:
        """What the newest partition record of each partition is about, as far as the follower has read."""


class NoTopics:
    """Knows nothing about the topics: every partition record is adopted."""

    async def look(self) -> SeenTopics:
        """Nothing."""
        return SeenTopics({}, "", {}, {})

    async def record_digests(self, wanted: Mapping[int, Collection[int]]) -> Mapping[int, RecordDigests]:
        """None."""
        return {}

    def recorded(self) -> Collection[PipelineIdentity | None]:
        """Nothing."""
        return ()


class Observer(Protocol):
    """Is told what happens in the engine, for metrics."""

    def settled(self, settlement: Settlement, record: SourceRecord) -> None:
        """An event has its final, durable outcome."""

    def handled(self, settlement: Settlement, again: Readmitted) -> None:
        """An event that was a dead letter has another outcome, or failed again."""

    def foreign(self, letter: str) -> None:
        """A record of another program was found in the dead-letter topic; ``letter``: its ID."""

    def cut_off(self, partition: int, first: int, begin: int, events: int) -> None:
        """Retention deleted events of the main topic before they were read.

        Args:
            first: the first offset that was deleted.
            begin: where the partition begins now.
            events: how many events were deleted, at most.
        """
