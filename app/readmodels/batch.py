"""The last value of every key in a batch of records. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.delivery.closed_days import parse_document_key
from app.delivery.consumer_record import ConsumerState, RecentEvent, parse_consumer_key
from app.delivery.dead_letter_record import DeadLetter
from app.delivery.letter_id import LetterId, parse_letter_key
from app.delivery.operator_task import EditKey, TaskKey, decode_end, decode_note, decode_task, parse_tasks_key
from app.delivery.pipeline import Pipeline
from app.delivery.record import TopicPartition
from app.delivery.record_format import StateError, parse_partition_key
from app.delivery.values_shown import ShownKey, decode_shown, read_shown_key


@dataclass(frozen=True, slots=True)
class Change:
    """The newest value of a key in a batch. ``version``: the record's offset. ``value``: None removes the key."""

    version: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class ConsumerChange:
    """A consumer record. ``last``: its event that was settled last; None: it has none. ``is_mended``: a repair came
    after it."""

    version: int
    value: bytes
    last: RecentEvent | None
    is_mended: bool = False


@dataclass(frozen=True, slots=True)
class LetterChange:
    """A dead-letter record. ``letter``: what ``value`` says."""

    version: int
    value: bytes
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that was skipped. ``reason`` quotes no part of it."""

    topic: str
    partition: int
    offset: int
    reason: str


@dataclass(slots=True)
class ReadBatch:
    """The changes by key. ``positions``: the next offset to read of each partition. ``documents``: those of closed days
    (``app/delivery/closed_days.py``). ``consumers``, ``letters``: None removes the key.

    A partition record is not decoded here: it is large, it is written with every group commit, and only the newest one
    is ever used. The other records are small, so they are checked, and a broken one does not replace the one before it.
    """

    pipeline: Pipeline
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    partitions: dict[tuple[int, int], Change] = field(default_factory=dict)
    documents: dict[bytes, Change] = field(default_factory=dict)
    consumers: dict[tuple[int, int, str], ConsumerChange | None] = field(default_factory=dict)
    letters: dict[tuple[LetterId, int], LetterChange | None] = field(default_factory=dict)
    tasks: dict[TaskKey | EditKey | ShownKey, Change] = field(default_factory=dict)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    records: int = 0

    def add(self, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Add one record."""
        self.records += 1
        self.positions[topic, partition] = offset + 1
        try:
            if topic == self.pipeline.state_topic:
                self._add_state(partition, offset, key or b"", value)
            elif topic == self.pipeline.consumers_topic:
                self._add_consumer(partition, offset, key or b"", value)
            elif topic == self.pipeline.letters_topic:
                self._add_letter(partition, offset, key or b"", value)
            else:
                self._add_task(partition, offset, key or b"", value)
        except StateError as error:
            self.unreadable.append(UnreadableRecord(topic, partition, offset, str(error)))

    def _add_state(self, partition: int, offset: int, key: bytes, value: bytes | None) -> None:
        if (document := parse_document_key(key)) is not None:
            _check_place(document[0], partition)
            self.documents[key] = Change(offset, value)
            return
        number, epoch = parse_partition_key(key)
        _check_place(number, partition)
        self.partitions[number, epoch] = Change(offset, value)

    def _add_consumer(self, partition: int, offset: int, key: bytes, value: bytes | None) -> None:
        number, epoch, consumer_id = parse_consumer_key(key)
        _check_place(number, partition)
        change = None
        if value is not None:
            state = ConsumerState.decode(value)
            change = ConsumerChange(offset, value, state.last, state.mended_ms is not None)
        self.consumers[number, epoch, consumer_id] = change

    def _add_letter(self, partition: int, offset: int, key: bytes, value: bytes | None) -> None:
        letter_id, epoch = parse_letter_key(key)
        _check_place(letter_id.partition, partition)
        change = None if value is None else LetterChange(offset, value, DeadLetter.decode(value))
        self.letters[letter_id, epoch] = change

    def _add_task(self, partition: int, offset: int, key: bytes, value: bytes | None) -> None:
        about = read_shown_key(key) or parse_tasks_key(key)
        _check_place(0, partition)
        if value is not None:
            _check_task(about, value)
        self.tasks[about] = Change(offset, value)

    def reached(self, topic: str, partition: int, position: int) -> None:
        """Note that everything below ``position`` was read, even if the offset before it holds no record."""
        if position > self.positions.get((topic, partition), -1):
            self.positions[topic, partition] = position


def _check_place(number: int, partition: int) -> None:
    if number != partition:
        raise StateError("the key is that of another partition")


def _check_task(about: TaskKey | EditKey | ShownKey, value: bytes) -> None:
    if isinstance(about, ShownKey):
        decode_shown(value)
    elif isinstance(about, EditKey) or about.part in ("pause", "cancel"):
        decode_note(value)
    elif about.part == "end":
        decode_end(value)
    else:
        decode_task(about.task, value)
