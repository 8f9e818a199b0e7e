"""The partition record: everything that is durably known of one partition. Its format and its changes; no I/O.

It says which offsets of the main topic are settled, which are parked, and what the settled events counted as. All of it
stands in one Kafka record, so that a crash cannot separate the parts. An event is identified by its offset in the main
topic. Invariants:

* One change settles an offset and counts its event. A settled offset is never run again.
* ``parked`` holds every event that stands in the retry topic and is not settled yet.
* ``verdicts`` holds every event that was given up and whose dead letter is on its way. The verdict is durable before
  the dead letter is sent, so a crash in between repeats the dead letter but never the decision.
* ``readmitted`` holds every settled event whose dead letter is being redriven, discarded or erased (``readmitted.py``).
  Its entry says how the event counted, so settling it again moves the count in the same change.
* ``erasing`` holds the consumers whose profile was deleted and whose older dead letters must still be closed.
* An offset is *decided* when it is settled or parked. All offsets up to and including ``upto`` are decided;
  ``decided_above`` holds the decided offsets above it.

The record's key carries the epoch of its writer. The record with the highest epoch counts, in whatever order the writes
arrive. The same holds for consumer records (``consumer_record.py``) and the documents of closed days
(``closed_days.py``).
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.counts import Counts, Settlement, copied, counted_as_before, fold, read_counts
from app.delivery.parked_events import ParkedEvent, ParkedGroups, read_parked
from app.delivery.pipeline_identity import PipelineIdentity
from app.delivery.readmitted import Readmitted, read_readmitted
from app.delivery.record_digest import RecordDigest
from app.delivery.record_format import MALFORMED, PARTITION_FORMAT, malformed, state_document
from app.delivery.state_fields import members
from app.delivery.verdict import Verdict, read_verdict


@dataclass(slots=True)
class PartitionState:
    """What the record of one partition says."""

    upto: int = -1
    decided_above: set[int] = field(default_factory=set)
    parked: dict[int, ParkedEvent] = field(default_factory=dict)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    counts: Counts = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)  # reason -> number of open dead letters
    # Where closed days are counted (closed_days.py): month -> (epoch, number) of the document that counts.
    closed_months: dict[str, tuple[int, int]] = field(default_factory=dict)
    identity: PipelineIdentity | None = None  # whose record this is; None: an older program wrote it
    # The copies of all parked events stand at or above this offset of the retry topic; None: not known.
    retry_from: int | None = None
    dry_run: bool | None = None  # whether the group does a dry run (SYNC_DRY_RUN); None: not known
    # Random. This group's copies in the retry topic carry it; copies of another group, or of an earlier topic of the
    # same name, may have the same offsets but not the mark. None: an older program wrote the record.
    mark: str | None = None
    # Digest of the main topic's record with the highest offset decided under this record; None: not known.
    last_digest: RecordDigest | None = None
    # Digests of records that were read before the topic's leader changed, kept until the topic is found to still hold
    # those records.
    pinned: tuple[RecordDigest, ...] = ()
    readmitted: dict[int, Readmitted] = field(default_factory=dict)
    erasing: dict[str, int] = field(default_factory=dict)  # consumer -> offset of the DELETE of its profile
    # The dead-letter topic was read up to this offset, for records of other programs; None: not yet.
    letters_read: int | None = None
    # Days of ``counts`` that this object may change. It shares the others with the object that it was copied from.
    _own_days: set[str] = field(default_factory=set, repr=False, compare=False)
    _groups_cache: ParkedGroups | None = field(default=None, repr=False, compare=False)

    def copy(self) -> PartitionState:
        """A copy that can be changed without changing this object; a day's counts are copied at its first change."""
        copy = PartitionState(
            self.upto,
            set(self.decided_above),
            dict(self.parked),
            dict(self.verdicts),
            dict(self.counts),
            dict(self.dead_letters),
            dict(self.closed_months),
            self.identity,
            self.retry_from,
            self.dry_run,
            self.mark,
            self.last_digest,
            self.pinned,
            dict(self.readmitted),
            dict(self.erasing),
            self.letters_read,
        )
        copy._groups_cache = self._groups().copy(copy.parked)
        return copy

    def _groups(self) -> ParkedGroups:
        if self._groups_cache is None or self._groups_cache.about is not self.parked:
            self._groups_cache = ParkedGroups.of(self.parked)
        return self._groups_cache

    def _set_parked(self, offset: int, entry: ParkedEvent | None) -> None:
        groups = self._groups()
        if (before := self.parked.pop(offset, None)) is not None:
            groups.remove(offset, before)
        if entry is not None:
            self.parked[offset] = entry
            groups.add(offset, entry)

    def decided(self, offset: int) -> bool:
        """Whether an offset is settled or parked, so that the main topic is done with it."""
        return offset <= self.upto or offset in self.decided_above

    @property
    def decided_upto(self) -> int:
        """The highest offset with no undecided one at or below it; ``upto`` may lag behind it by a commit."""
        upto = self.upto
        while upto + 1 in self.decided_above:
            upto += 1
        return upto

    @property
    def highest_decided(self) -> int:
        """The highest offset that is settled or parked; -1: none is."""
        return max(self.upto, max(self.decided_above, default=-1))

    def to_compare(self) -> list[RecordDigest]:
        """The records that the topic must still hold at their offsets, unless it holds nothing there."""
        return list(dict.fromkeys((*self.pinned, *(() if self.last_digest is None else (self.last_digest,)))))

    # The changes
    def settle(self, offset: int, settlement: Settlement, *, dead_letter: bool = False, counted_from: str = "") -> None:
        """Settle and count an event, and remove it from ``parked``, ``verdicts`` and ``readmitted``.

        A readmitted event was counted before: its count moves to the new outcome, under the day and the market of the
        first one.

        Args:
            dead_letter: its dead letter stands in the dead-letter topic.
            counted_from: the first day (ISO 8601) whose counts are kept. The count of an earlier day does not move.
        """
        if offset > self.upto:  # a parked event's offset is already at or below ``upto``, or in ``decided_above``
            self.decided_above.add(offset)
        if offset in self.parked:
            self._set_parked(offset, None)
        self.verdicts.pop(offset, None)
        if (again := self.readmitted.pop(offset, None)) is not None:
            reverse = again.reverse
            settlement = counted_as_before(settlement, reverse)
            self._open_letters(reverse.reason, -1)
            if reverse.day >= counted_from:
                self._fold(reverse, -1)
        if again is None or settlement.day >= counted_from:
            self._fold(settlement, 1)
        if dead_letter:
            self._open_letters(settlement.reason, 1)

    def _fold(self, settlement: Settlement, sign: int) -> None:
        if settlement.day not in self._own_days:
            self._own_days.add(settlement.day)
            self.counts[settlement.day] = copied(self.counts.get(settlement.day, {}))
        fold(self.counts, settlement, sign)

    def _open_letters(self, reason: str | None, by: int) -> None:
        reason = reason or ""
        now = self.dead_letters.get(reason, 0) + by
        if now > 0:
            self.dead_letters[reason] = now
        else:
            self.dead_letters.pop(reason, None)

    def pass_over(self, offset: int) -> None:
        """Settle a record of the main topic that is no event; it is not counted."""
        if offset > self.upto:
            self.decided_above.add(offset)

    def note_letters_read(self, upto: int) -> None:
        """The dead-letter topic was read up to an offset."""
        self.letters_read = max(upto, -1 if self.letters_read is None else self.letters_read)

    def readmit(self, offset: int, entry: Readmitted) -> None:
        """A dead letter begins to be handled. Its offset stays decided, its count stays as it is."""
        self.readmitted[offset] = entry

    def erase(self, consumer: str, offset: int) -> None:
        """The consumer's profile was deleted by the event at ``offset``: its older dead letters are to be closed."""
        self.erasing[consumer] = max(offset, self.erasing.get(consumer, -1))

    def erased(self, consumer: str, offset: int) -> None:
        """The consumer's dead letters before ``offset`` are closed."""
        if self.erasing.get(consumer, -1) <= offset:
            self.erasing.pop(consumer, None)

    def park(self, offset: int, entry: ParkedEvent) -> None:
        """Park an event whose copy is acknowledged in the retry topic."""
        self.decided_above.add(offset)
        self._set_parked(offset, entry)

    def note_attempt(self, offset: int, entry: ParkedEvent) -> None:
        """Note another failed attempt of a parked or readmitted event."""
        if offset in self.parked:
            self._set_parked(offset, entry)
        elif (again := self.readmitted.get(offset)) is not None:
            self.readmitted[offset] = replace(again, event=entry)

    def give_up(self, offset: int, verdict: Verdict) -> None:
        """Note that an event was given up; its dead letter can be sent."""
        self.verdicts[offset] = verdict

    def advance(self, upto: int) -> None:
        """All offsets at or below ``upto`` are decided: forget them one by one."""
        if upto > self.upto:
            self.upto = upto
            self.decided_above = {offset for offset in self.decided_above if offset > upto}

    def encode(self) -> bytes:
        """Compact JSON: the record is rewritten with every group commit."""
        groups = self._groups()
        return orjson.dumps(
            {
                "v": PARTITION_FORMAT,
                "upto": self.upto,
                "done": list(self.decided_above),
                "failing": groups.failing_json(),
                "waiting": groups.waiting,
                "verdicts": [[o, asdict(v)] for o, v in self.verdicts.items()],
                "counts": self.counts,
                "deadLetters": self.dead_letters,
                "archive": self.closed_months,
                "pipeline": self.identity.to_json() if self.identity else None,
                "retryFrom": self.retry_from,
                "dryRun": self.dry_run,
                "mark": self.mark,
                "fingerprint": self.last_digest.to_json() if self.last_digest else None,
                "pinned": [one.to_json() for one in self.pinned],
                "readmitted": [entry.to_json(offset) for offset, entry in self.readmitted.items()],
                "erasing": self.erasing,
                "lettersRead": self.letters_read,
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
        except MALFORMED as error:
            raise malformed("partition", error) from None

    @classmethod
    def _of(cls, document: dict[str, Any]) -> PartitionState:
        return cls(
            upto=fields.number(document["upto"], least=-1),
            decided_above=set(fields.numbers(document["done"])),
            parked=read_parked(document["failing"], document["waiting"]),
            verdicts=dict(fields.entries(document["verdicts"], read_verdict)),
            counts=read_counts(document["counts"]),
            dead_letters={reason: fields.number(open_) for reason, open_ in members(document["deadLetters"]).items()},
            closed_months=dict(map(_closed_month, members(document.get("archive", {})).items())),
            identity=fields.optional(document.get("pipeline"), PipelineIdentity.from_json),
            retry_from=fields.optional(document.get("retryFrom"), fields.number),
            dry_run=fields.optional(document.get("dryRun"), fields.flag),
            mark=fields.optional(document.get("mark"), fields.text),
            last_digest=fields.optional(document.get("fingerprint"), RecordDigest.from_json),
            pinned=tuple(fields.entries(document.get("pinned", []), RecordDigest.from_json)),
            readmitted=dict(fields.entries(document.get("readmitted", []), read_readmitted)),
            erasing={consumer: fields.number(o) for consumer, o in members(document.get("erasing", {})).items()},
            letters_read=fields.optional(document.get("lettersRead"), fields.number),
        )


def _closed_month(item: tuple[str, Any]) -> tuple[str, tuple[int, int]]:
    month, (epoch, number) = item
    return fields.month(month), (fields.number(epoch), fields.number(number))


def new_mark() -> str:
    """A mark that no other record has."""
    return secrets.token_hex(8)
