"""The last value of every key in a batch of state records. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.delivery.closed_days import parse_document_key
from app.delivery.consumer_record import ConsumerState, parse_consumer_key
from app.delivery.record import TopicPartition
from app.delivery.record_format import StateError, parse_partition_key


@dataclass(frozen=True, slots=True)
class Change:
    """The newest value of a key in a batch. ``version``: the record's offset. ``value``: None removes the key."""

    version: int
    value: bytes | None


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
    (``app/delivery/closed_days.py``).

    A partition record is not decoded here: it is large, it is written with every group commit, and only the newest one
    is ever used. A consumer record is small, so it is checked, and a broken one does not replace the one before it.
    """

    state_topic: str
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    partitions: dict[tuple[int, int], Change] = field(default_factory=dict)
    documents: dict[bytes, Change] = field(default_factory=dict)
    consumers: dict[tuple[int, int, str], Change] = field(default_factory=dict)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    records: int = 0

    def add(self, topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Add one record."""
        self.records += 1
        self.positions[topic, partition] = offset + 1
        try:
            if topic == self.state_topic and (document := parse_document_key(key or b"")) is not None:
                _check_place(document[0], partition)
                self.documents[key or b""] = Change(offset, value)
            elif topic == self.state_topic:
                number, epoch = parse_partition_key(key or b"")
                _check_place(number, partition)
                self.partitions[number, epoch] = Change(offset, value)
            else:
                number, epoch, consumer_id = parse_consumer_key(key or b"")
                _check_place(number, partition)
                if value is not None:
                    ConsumerState.decode(value)
                self.consumers[number, epoch, consumer_id] = Change(offset, value)
        except StateError as error:
            self.unreadable.append(UnreadableRecord(topic, partition, offset, str(error)))

    def reached(self, topic: str, partition: int, position: int) -> None:
        """Note that everything below ``position`` was read, even if the offset before it holds no record."""
        if position > self.positions.get((topic, partition), -1):
            self.positions[topic, partition] = position


def _check_place(number: int, partition: int) -> None:
    if number != partition:
        raise StateError("the key is that of another partition")
