"""The durable truth: one record per partition, and one per consumer. Formats and pure changes; no I/O.

A partition record says which source offsets are settled, which are parked, and what the settled ones came to. All three
stand in one Kafka record, so no crash can part them. Invariants (o = offset in the main topic, the event's identity):

* o is settled and counted in one and the same change; a settled o is never run again.
* ``forwarded`` holds everything that is parked: forwarded to the retry topic and not settled yet.
* ``verdicts`` holds what was given up and is on its way to the dead-letter topic: the decision is durable before the
  dead letter is sent, so a crash in between repeats the dead letter, never the decision.
* ``done`` holds settled or parked offsets above ``upto``; all at or below ``upto`` are settled or parked.

Both kinds of record carry the writer's epoch in their key; the highest epoch wins, whatever order writes arrive in.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import accumulate, islice
from typing import Any

import orjson

from app.domain.counts import Counts, FailureCount, RowKey, Settlement, copied, fold
from app.domain.entities import EntityType
from app.domain.outcome import Outcome, RecordCount

FORMAT = 1
RECENT_KEPT = 5
# Of the rows that were deleted one by one since a consumer's last full state, the newest so many are remembered, with
# keys of so many characters at most: the record must fit into its topic.
DELETED_KEPT = 200
DELETED_CHARACTERS = 40_000


@dataclass(frozen=True, slots=True)
class Forwarded:
    """One parked event. ``attempts`` = failed so far; 0 = waits behind an earlier one of its consumer. Times in ms.

    Of a waiting event nothing but consumer and offset is kept: thousands of them may be rewritten many times a second.
    """

    consumer: str
    event_id: str = ""
    attempts: int = 0
    due_ms: int = 0
    first_failed_ms: int = 0
    last_failed_ms: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event that was given up: what its dead letter and its counts will say."""

    settlement: Settlement
    message: str
    first_failed_ms: int
    last_failed_ms: int
    alert: bool


@dataclass(slots=True)
class PartitionState:
    """The record of one partition."""

    upto: int = -1
    done: set[int] = field(default_factory=set)
    forwarded: dict[int, Forwarded] = field(default_factory=dict)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    counts: Counts = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)  # reason -> open ones
    # Closed days are counted in documents, see archive.py: month -> (epoch, number) of the one that counts.
    archive: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Days of ``counts`` that are this object's own; those of the object that it was copied from must not be changed.
    _own_days: set[str] = field(default_factory=set, repr=False, compare=False)

    def copy(self) -> PartitionState:
        """A copy that may be changed without touching this one (counts are copied where they are changed)."""
        return PartitionState(
            self.upto,
            set(self.done),
            dict(self.forwarded),
            dict(self.verdicts),
            dict(self.counts),
            dict(self.dead_letters),
            dict(self.archive),
        )

    def decided(self, offset: int) -> bool:
        """Whether the main topic's part of the event is over: settled, or parked in the retry topic."""
        return offset <= self.upto or offset in self.done

    # The changes there are.
    def finish(self, offset: int, settlement: Settlement, *, dead_letter: bool = False) -> None:
        """Settle and count an event; it leaves the parking and the verdicts. ``dead_letter``: one stands in the DLQ."""
        if offset > self.upto:  # of a parked event it is below
            self.done.add(offset)
        self.forwarded.pop(offset, None)
        self.verdicts.pop(offset, None)
        if settlement.day not in self._own_days:
            self._own_days.add(settlement.day)
            self.counts[settlement.day] = copied(self.counts.get(settlement.day, {}))
        fold(self.counts, settlement)
        if dead_letter:
            reason = settlement.reason or ""
            self.dead_letters[reason] = self.dead_letters.get(reason, 0) + 1

    def forward(self, offset: int, entry: Forwarded) -> None:
        """Park an event whose copy is acknowledged in the retry topic."""
        self.done.add(offset)
        self.forwarded[offset] = entry

    def tried(self, offset: int, entry: Forwarded) -> None:
        """Note another failed attempt of a parked event."""
        if offset in self.forwarded:
            self.forwarded[offset] = entry

    def give_up(self, offset: int, verdict: Verdict) -> None:
        """Note that an event will go to the dead-letter topic."""
        self.verdicts[offset] = verdict

    def advance(self, upto: int) -> None:
        """Everything at or below ``upto`` is decided: the sparse set shrinks."""
        if upto > self.upto:
            self.upto = upto
            self.done = {offset for offset in self.done if offset > upto}

    def encode(self) -> bytes:
        """JSON, compact: the record is rewritten with every group commit."""
        waiting: dict[str, list[int]] = {}
        failing = []
        for o, e in self.forwarded.items():
            if e.attempts:
                failing.append(
                    [o, e.consumer, e.event_id, e.attempts, e.due_ms, e.first_failed_ms, e.last_failed_ms, e.reason]
                )
            elif offsets := waiting.get(e.consumer):
                offsets.append(o)
            else:
                waiting[e.consumer] = [o]
        return orjson.dumps(
            {
                "v": FORMAT,
                "upto": self.upto,
                "done": list(self.done),
                "failing": failing,
                "waiting": waiting,
                "verdicts": [[o, asdict(v)] for o, v in self.verdicts.items()],
                "counts": self.counts,
                "deadLetters": self.dead_letters,
                "archive": self.archive,
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> PartitionState:
        """Read what ``encode`` wrote.

        Raises:
            StateError: not a partition record, or one of a newer program.
        """
        document = _document(value, "partition")
        return cls(
            upto=document["upto"],
            done=set(document["done"]),
            forwarded={entry[0]: Forwarded(*entry[1:]) for entry in document["failing"]}
            | {offset: Forwarded(c) for c, offsets in document["waiting"].items() for offset in offsets},
            verdicts={offset: _verdict(verdict) for offset, verdict in document["verdicts"]},
            counts=document["counts"],
            dead_letters=document["deadLetters"],
            archive={month: (epoch, number) for month, (epoch, number) in document.get("archive", {}).items()},
        )


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """One line of a consumer's history."""

    event_id: str
    operation: str
    outcome: str
    reason: str | None
    attempts: int
    settled_ms: int


@dataclass(frozen=True, slots=True)
class FullState:
    """The last event that said everything about the consumer and reached Marketing Cloud."""

    offset: int
    operation: str
    event_id: str


@dataclass(frozen=True, slots=True)
class DeletedRow:
    """A row that a settled DELETE of single rows removed."""

    offset: int
    entity: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """What is known of one consumer on one partition. No personal data: identifiers and outcomes only.

    ``deleted`` holds rows deleted after ``full``; of those forgotten, the last was deleted at ``deleted_forgotten``.
    """

    offset: int
    market: str
    recent: tuple[RecentEvent, ...] = ()
    synced_ms: int | None = None
    full: FullState | None = None
    deleted: tuple[DeletedRow, ...] = ()
    deleted_forgotten: int = -1

    def encode(self) -> bytes:
        """JSON; orjson writes the dataclasses inside as objects."""
        return orjson.dumps(
            {
                "v": FORMAT,
                "offset": self.offset,
                "market": self.market,
                "recent": self.recent,
                "synced_ms": self.synced_ms,
                "full": self.full,
                "deleted": self.deleted,
                "deleted_forgotten": self.deleted_forgotten,
            }
        )

    @staticmethod
    def check(value: bytes) -> None:
        """Whether ``decode`` can be expected to read it; costs a fifth of that.

        Raises:
            StateError: as ``decode``.
        """
        if missing := _CONSUMER_FIELDS - _document(value, "consumer").keys():
            raise StateError(f"not a consumer record: without {', '.join(sorted(missing))}")

    @classmethod
    def decode(cls, value: bytes) -> ConsumerState:
        """Read what ``encode`` wrote.

        Raises:
            StateError: not a consumer record, or one of a newer program.
        """
        document = _document(value, "consumer")
        full = document["full"]
        return cls(
            offset=document["offset"],
            market=document["market"],
            recent=tuple(RecentEvent(**event) for event in document["recent"]),
            synced_ms=document["synced_ms"],
            full=FullState(**full) if full else None,
            deleted=tuple(
                DeletedRow(row["offset"], row["entity"], tuple(row["key"])) for row in document.get("deleted", ())
            ),
            deleted_forgotten=document.get("deleted_forgotten", -1),
        )


_CONSUMER_FIELDS = {"offset", "market", "recent", "synced_ms", "full"}


class StateError(ValueError):
    """A state record that this program cannot read."""


def after_settling(before: ConsumerState | None, offset: int, settlement: Settlement, settled_ms: int) -> ConsumerState:
    """The consumer's record once one more of its events is settled; doing it twice changes nothing more."""
    event = RecentEvent(
        settlement.event_id,
        settlement.operation,
        settlement.outcome.value,
        settlement.reason,
        settlement.attempts,
        settled_ms,
    )
    state = before or ConsumerState(offset, settlement.market)
    older = [recent for recent in state.recent if recent.event_id != settlement.event_id]
    reached = settlement.outcome in (Outcome.SYNCED, Outcome.PARTIAL)
    full = state.full
    if reached and settlement.full_state and (full is None or offset >= full.offset):
        full = FullState(offset, settlement.operation, settlement.event_id)
    deleted, forgotten = _deleted(state, offset, settlement.deleted if reached else (), full)
    return ConsumerState(
        offset=max(offset, state.offset),
        market=state.market if settlement.market == "-" else settlement.market,
        recent=(event, *older)[:RECENT_KEPT],
        synced_ms=settled_ms if reached else state.synced_ms,
        full=full,
        deleted=deleted,
        deleted_forgotten=forgotten,
    )


def _deleted(
    state: ConsumerState, offset: int, rows: tuple[RowKey, ...], full: FullState | None
) -> tuple[tuple[DeletedRow, ...], int]:
    """The rows deleted after the full state, the newest ``DELETED_KEPT`` of them, and the last forgotten one."""
    since = -1 if full is None else full.offset
    if not rows and not state.deleted:
        return (), state.deleted_forgotten if state.deleted_forgotten > since else -1
    newest = {(row.entity, row.key): row.offset for row in state.deleted}
    for row in rows:
        newest[row] = max(offset, newest.get(row, -1))
    known = sorted((DeletedRow(at, *row) for row, at in newest.items() if at > since), key=lambda row: -row.offset)
    sizes = accumulate(sum(map(len, row.key)) for row in known)
    kept = sum(size <= DELETED_CHARACTERS for size in islice(sizes, DELETED_KEPT))
    forgotten = max((state.deleted_forgotten, *(row.offset for row in known[kept:])))
    return tuple(reversed(known[:kept])), forgotten if forgotten > since else -1


def partition_key(partition: int, epoch: int) -> bytes:
    """Key of a partition record in the state topic."""
    return f"{partition}|{epoch}".encode()


def parse_partition_key(key: bytes) -> tuple[int, int]:
    """(partition, epoch) of a state record's key.

    Raises:
        StateError: not such a key.
    """
    try:
        partition, epoch = key.decode().split("|")
        return int(partition), int(epoch)
    except ValueError:
        raise StateError("not the key of a partition record") from None


def consumer_key(partition: int, epoch: int, consumer_id: str) -> bytes:
    """Key of a consumer record."""
    return f"{partition}|{epoch}|{consumer_id}".encode()


def parse_consumer_key(key: bytes) -> tuple[int, int, str]:
    """(partition, epoch, consumer ID) of a consumer record's key.

    Raises:
        StateError: not such a key.
    """
    try:
        partition, epoch, consumer_id = key.decode().split("|", 2)
        return int(partition), int(epoch), consumer_id
    except ValueError:
        raise StateError("not the key of a consumer record") from None


def _document(value: bytes, kind: str) -> dict[str, Any]:
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise StateError(f"not a {kind} record: {error}") from None
    if not isinstance(document, dict) or document.get("v") != FORMAT:
        raise StateError(f"not a {kind} record of format {FORMAT}; was it written by a newer program?")
    return document


def _verdict(document: dict[str, Any]) -> Verdict:
    settlement = document.pop("settlement")
    settlement["outcome"] = Outcome(settlement["outcome"])
    settlement["records"] = tuple(
        RecordCount(EntityType(r["entity"]), r["synced"], r["failed"]) for r in settlement["records"]
    )
    settlement["failures"] = tuple(FailureCount(**f) for f in settlement["failures"])
    settlement["deleted"] = tuple((entity, tuple(key)) for entity, key in settlement["deleted"])
    return Verdict(settlement=Settlement(**settlement), **document)
