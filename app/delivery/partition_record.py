"""The durable truth about a partition: one record. Its format and the changes there are; no I/O.

It says which source offsets are settled, which are parked, and what the settled ones came to. All three
stand in one Kafka record, so no crash can part them. Invariants (o = offset in the main topic, the event's identity):

* o is settled and counted in one and the same change; a settled o is never run again.
* ``forwarded`` holds everything that is parked: forwarded to the retry topic and not settled yet.
* ``verdicts`` holds what was given up and is on its way to the dead-letter topic: the decision is durable before the
  dead letter is sent, so a crash in between repeats the dead letter, never the decision.
* ``done`` holds settled or parked offsets above ``upto``; all at or below ``upto`` are settled or parked.

The record carries the writer's epoch in its key; the highest epoch wins, whatever order writes arrive in. So do the
records of consumers (consumer_state.py) and the documents of closed days (archive.py).
"""

from __future__ import annotations

import secrets
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.counts import Counts, Settlement, copied, fold, read_counts, read_settlement
from app.delivery.headers import cut
from app.delivery.pipeline_identity import NEW_GROUP, PipelineIdentity
from app.delivery.settled_digest import Fingerprint
from app.delivery.state_fields import UnlikeOurs, key_number, members

FORMAT = 1

# Of a parked event's ID so much is kept (JSON, without its quotes); whole it stands in the copy's headers.
EVENT_ID_BYTES = 256
# JSON writes a byte of UTF-8 in so many at most: a control character, ``\u0001``.
ESCAPED_BYTES = 6
# The numbers and the reason of a parked event that failed; the offset of one that waits.
_FAILING_BYTES, OFFSET_BYTES = 200, 20


@dataclass(frozen=True, slots=True)
class Forwarded:
    """One parked event. ``attempts`` = failed so far; 0 = waits behind an earlier one of its consumer. Times in ms.

    ``day``: the day that the event counts under, where its timestamp cannot be right; it was parked on that day first.
    Of a waiting event nothing but consumer and offset is kept: thousands of them may be rewritten many times a second.
    """

    consumer: str
    event_id: str = ""
    attempts: int = 0
    due_ms: int = 0
    first_failed_ms: int = 0
    last_failed_ms: int = 0
    reason: str = ""
    day: str = ""

    @property
    def only_waits(self) -> bool:
        """Whether nothing but its offset has to be kept."""
        return not (self.attempts or self.day)


def json_bytes(text: str) -> int:
    """Bytes of a text in the record, quotes included.

    >>> json_bytes("c-1"), json_bytes('"'), json_bytes("\x01")
    (5, 4, 8)
    """
    return len(orjson.dumps(text))


def consumer_bytes(consumer: str) -> int:
    """Bytes of the record that a parked consumer may take besides its offsets: its ID where its events wait, and once
    more with the one event that fails; the others never fail at the same time."""
    return 2 * json_bytes(consumer) + EVENT_ID_BYTES + _FAILING_BYTES


def dated_bytes(consumer: str) -> int:
    """Bytes of a parked event that keeps its day: it has an entry of its own."""
    return json_bytes(consumer) + _FAILING_BYTES


def kept_event_id(event_id: str) -> str:
    """As much of a parked event's ID as its entry keeps.

    >>> kept_event_id("e-1"), len(kept_event_id("e" * 300)), len(kept_event_id("\x01" * 300))
    ('e-1', 256, 42)
    """
    kept = cut(event_id, EVENT_ID_BYTES)
    return kept if json_bytes(kept) <= EVENT_ID_BYTES + 2 else cut(kept, EVENT_ID_BYTES // ESCAPED_BYTES)


@dataclass(slots=True)
class _Grouped:
    """The parked events as they stand in the record. Kept up to date with each change: a hot consumer may have
    thousands of them, and all would be looked at for each of its events.

    ``about``: the dict that this groups. A consumer's list of offsets is sorted, so that one is found and taken out of
    60,000 in a few microseconds. It may be changed when its consumer is in ``own``, else it is shared with the record
    that this one was copied from.
    """

    about: dict[int, Forwarded]
    failing: dict[int, Forwarded] = field(default_factory=dict)
    waiting: dict[str, list[int]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, forwarded: dict[int, Forwarded]) -> _Grouped:
        grouped = cls(forwarded)
        for offset, entry in forwarded.items():
            grouped.add(offset, entry)
        return grouped

    def copy(self, forwarded: dict[int, Forwarded]) -> _Grouped:
        return _Grouped(forwarded, dict(self.failing), dict(self.waiting))

    def add(self, offset: int, entry: Forwarded) -> None:
        if entry.only_waits:
            insort(self._own(entry.consumer), offset)
        else:
            self.failing[offset] = entry

    def remove(self, offset: int, entry: Forwarded) -> None:
        if not entry.only_waits:
            self.failing.pop(offset, None)
            return
        offsets = self._own(entry.consumer)
        del offsets[bisect_left(offsets, offset)]
        if not offsets:
            del self.waiting[entry.consumer]

    def _own(self, consumer: str) -> list[int]:
        if consumer not in self.own:
            self.own.add(consumer)
            self.waiting[consumer] = list(self.waiting.get(consumer, ()))
        return self.waiting.setdefault(consumer, [])


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event that was given up: what its dead letter and its counts will say."""

    settlement: Settlement
    message: str
    first_failed_ms: int
    last_failed_ms: int
    alert: bool


def verdict_bytes(verdict: Verdict) -> int:
    """Bytes of the record that a verdict takes, with its offset."""
    return len(orjson.dumps(asdict(verdict))) + OFFSET_BYTES + 3


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
    identity: PipelineIdentity | None = None  # whose record this is; None: written before records said so
    # The copies of all that is parked stand at or above this offset of the retry topic; None: not known.
    retry_from: int | None = None
    dry_run: bool | None = None  # whether nothing is really written (SYNC_DRY_RUN); None: not known
    # Copies in the retry topic carry it. Those of another group, or of a topic that had the name before, stand there
    # with the same offsets and mean nothing. None: written before copies said so.
    mark: str | None = None
    # The highest record that was decided while this was written down; None: not known.
    fingerprint: Fingerprint | None = None
    # Records that were read before the topic had another leader, until they were found there again.
    pinned: tuple[Fingerprint, ...] = ()
    # Days of ``counts`` that are this object's own; those of the object that it was copied from must not be changed.
    _own_days: set[str] = field(default_factory=set, repr=False, compare=False)
    _grouped: _Grouped | None = field(default=None, repr=False, compare=False)

    def copy(self) -> PartitionState:
        """A copy that may be changed without touching this one (counts are copied where they are changed)."""
        copy = PartitionState(
            self.upto,
            set(self.done),
            dict(self.forwarded),
            dict(self.verdicts),
            dict(self.counts),
            dict(self.dead_letters),
            dict(self.archive),
            self.identity,
            self.retry_from,
            self.dry_run,
            self.mark,
            self.fingerprint,
            self.pinned,
        )
        copy._grouped = self._groups().copy(copy.forwarded)
        return copy

    def _groups(self) -> _Grouped:
        if self._grouped is None or self._grouped.about is not self.forwarded:
            self._grouped = _Grouped.of(self.forwarded)
        return self._grouped

    def _set_forwarded(self, offset: int, entry: Forwarded | None) -> None:
        groups = self._groups()
        if (before := self.forwarded.pop(offset, None)) is not None:
            groups.remove(offset, before)
        if entry is not None:
            self.forwarded[offset] = entry
            groups.add(offset, entry)

    def decided(self, offset: int) -> bool:
        """Whether the main topic's part of the event is over: settled, or parked in the retry topic."""
        return offset <= self.upto or offset in self.done

    @property
    def decided_upto(self) -> int:
        """The highest offset up to which every number was settled or parked; ``upto`` may be a commit behind it."""
        upto = self.upto
        while upto + 1 in self.done:
            upto += 1
        return upto

    @property
    def highest_decided(self) -> int:
        """The highest offset that is settled or parked; -1: none is."""
        return max(self.upto, max(self.done, default=-1))

    def to_compare(self) -> list[Fingerprint]:
        """The records that the topic must still hold, as far as it holds anything at their offsets."""
        return list(dict.fromkeys((*self.pinned, *(() if self.fingerprint is None else (self.fingerprint,)))))

    # The changes there are.
    def finish(self, offset: int, settlement: Settlement, *, dead_letter: bool = False) -> None:
        """Settle and count an event; it leaves the parking and the verdicts. ``dead_letter``: one stands in the DLQ."""
        if offset > self.upto:  # of a parked event it is below
            self.done.add(offset)
        if offset in self.forwarded:
            self._set_forwarded(offset, None)
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
        self._set_forwarded(offset, entry)

    def tried(self, offset: int, entry: Forwarded) -> None:
        """Note another failed attempt of a parked event."""
        if offset in self.forwarded:
            self._set_forwarded(offset, entry)

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
        groups = self._groups()
        failing = []
        for o, e in groups.failing.items():
            times = (e.due_ms, e.first_failed_ms, e.last_failed_ms)
            failing.append([o, e.consumer, e.event_id, e.attempts, *times, e.reason, *((e.day,) if e.day else ())])
        return orjson.dumps(
            {
                "v": FORMAT,
                "upto": self.upto,
                "done": list(self.done),
                "failing": failing,
                "waiting": groups.waiting,
                "verdicts": [[o, asdict(v)] for o, v in self.verdicts.items()],
                "counts": self.counts,
                "deadLetters": self.dead_letters,
                "archive": self.archive,
                "pipeline": self.identity.to_json() if self.identity else None,
                "retryFrom": self.retry_from,
                "dryRun": self.dry_run,
                "mark": self.mark,
                "fingerprint": self.fingerprint.to_json() if self.fingerprint else None,
                "pinned": [one.to_json() for one in self.pinned],
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> PartitionState:
        """Read what ``encode`` wrote.

        Raises:
            StateError: not a partition record, or one of a newer program.
        """
        document = state_document(value, "partition")
        try:
            return cls._of(document)
        except UNLIKE_A_RECORD as error:
            raise unreadable("partition", error) from None

    @classmethod
    def _of(cls, document: dict[str, Any]) -> PartitionState:
        waiting = members(document["waiting"])
        return cls(
            upto=fields.number(document["upto"], least=-1),
            done=set(fields.numbers(document["done"])),
            forwarded=dict(fields.entries(document["failing"], _failing))
            | {offset: Forwarded(c) for c, offsets in waiting.items() for offset in fields.numbers(offsets)},
            verdicts=dict(fields.entries(document["verdicts"], _verdict)),
            counts=read_counts(document["counts"]),
            dead_letters={reason: fields.number(open_) for reason, open_ in members(document["deadLetters"]).items()},
            archive=dict(map(_archived, members(document.get("archive", {})).items())),
            identity=fields.optional(document.get("pipeline"), PipelineIdentity.from_json),
            retry_from=fields.optional(document.get("retryFrom"), fields.number),
            dry_run=fields.optional(document.get("dryRun"), fields.flag),
            mark=fields.optional(document.get("mark"), fields.text),
            fingerprint=fields.optional(document.get("fingerprint"), Fingerprint.from_json),
            pinned=tuple(fields.entries(document.get("pinned", []), Fingerprint.from_json)),
        )


def _failing(entry: Any) -> tuple[int, Forwarded]:
    offset, consumer, *more = entry
    times = fields.moment, fields.moment, fields.moment
    kinds: list[Callable[[Any], Any]] = [fields.text, fields.number, *times, fields.text, _day_or_none]
    read = [kind(value) for kind, value in zip(kinds, more, strict=False)]
    if len(more) > len(kinds):
        raise UnlikeOurs("a parked event with more than there is to say of one")
    parked = Forwarded(fields.text(consumer), *read)
    return fields.number(offset), Forwarded(parked.consumer) if parked.only_waits else parked


def _day_or_none(value: Any) -> str:
    return fields.day(value) if value else fields.text(value)


def _verdict(entry: Any) -> tuple[int, Verdict]:
    offset, document = entry
    given = members(document)
    verdict = Verdict(
        read_settlement(given["settlement"]),
        fields.text(given["message"]),
        fields.moment(given["first_failed_ms"]),
        fields.moment(given["last_failed_ms"]),
        fields.flag(given["alert"]),
    )
    return fields.number(offset), verdict


def _archived(item: tuple[str, Any]) -> tuple[str, tuple[int, int]]:
    month, (epoch, number) = item
    return fields.month(month), (fields.number(epoch), fields.number(number))


# What reading a JSON object raises that is shaped in another way than ours.
UNLIKE_A_RECORD = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


def new_mark() -> str:
    """One that no other record has."""
    return secrets.token_hex(8)


class StateError(ValueError):
    """A state record that this program cannot read."""


def unreadable(kind: str, error: Exception) -> StateError:
    """What to raise for one of ``UNLIKE_A_RECORD``; says nothing of the content."""
    reason = str(error) if isinstance(error, UnlikeOurs) else type(error).__name__
    return StateError(f"not a {kind} record: {reason}")


def unreadable_record(topic: str, partition: int, key: str, offset: int | None, reason: str) -> str:
    """What is wrong with the record of a partition that counts, and the ways to go on; one line."""
    place = "" if offset is None else f", offset {offset}"
    return (
        f"The record of partition {partition} in {topic} (key {key}{place}) cannot be used: {reason}. If a newer "
        "version of this program wrote it, run that version. If somebody else wrote it, remove it by a record with the "
        f"same key and no value: printf '{key}=' | kcat -P -b BROKER -t {topic} -p {partition} -K = -Z; then the one "
        f"before it counts, if the topic still has it. Or {NEW_GROUP}."
    )


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
        return key_number(partition), key_number(epoch)
    except ValueError:
        raise StateError("not the key of a partition record") from None


def state_document(value: bytes, kind: str) -> dict[str, Any]:
    """The JSON object of a state record, of a format that this program knows.

    Raises:
        StateError: it is none.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise StateError(f"not a {kind} record: {error}") from None
    if not isinstance(document, dict) or document.get("v") != FORMAT:
        raise StateError(f"not a {kind} record of format {FORMAT}; was it written by a newer program?")
    return document
