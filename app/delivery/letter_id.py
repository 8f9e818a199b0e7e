"""The names of dead letters: ``<partition>-<offset>`` of the event in the main topic, one dead letter for each event;
``dlq-<partition>-<offset>`` for a record that another program put into the dead-letter topic. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.delivery.record_format import StateError
from app.delivery.state_fields import MalformedPart, key_number

FOREIGN = "dlq-"
# Kafka numbers partitions with 32 bits.
_MOST_PARTITIONS = 2**31
_ID = re.compile(r"(dlq-)?([0-9]{1,10})-([0-9]{1,16})")


@dataclass(frozen=True, slots=True, order=True)
class LetterId:
    """``offset``: in the main topic; of a foreign record: in the dead-letter topic."""

    partition: int
    offset: int
    foreign: bool = False

    def __str__(self) -> str:
        """As operators write it.

        >>> str(LetterId(5, 26)), str(LetterId(0, 7, foreign=True))
        ('5-26', 'dlq-0-7')
        """
        return f"{FOREIGN if self.foreign else ''}{self.partition}-{self.offset}"


def read_letter_id(text: str) -> LetterId | None:
    """The dead letter that a text names; None: it names none.

    >>> read_letter_id("5-26"), read_letter_id("dlq-0-7") == LetterId(0, 7, True), read_letter_id("5-026")
    (LetterId(partition=5, offset=26, foreign=False), True, None)
    """
    match = _ID.fullmatch(text)
    if match is None:
        return None
    try:
        partition, offset = key_number(match[2]), key_number(match[3])
    except MalformedPart:
        return None
    return LetterId(partition, offset, match[1] is not None) if partition < _MOST_PARTITIONS else None


def letter_key(letter: LetterId, epoch: int) -> bytes:
    """Key of a dead-letter record; the record with the highest epoch counts."""
    return f"{letter.partition}|{epoch}|{FOREIGN if letter.foreign else ''}{letter.offset}".encode()


def parse_letter_key(key: bytes) -> tuple[LetterId, int]:
    """The dead letter and the epoch in a dead-letter record's key.

    Raises:
        StateError: not the key of a dead-letter record.
    """
    try:
        partition, epoch, offset = key.decode().split("|")
        foreign = offset.startswith(FOREIGN)
        number, place = key_number(partition), key_number(offset.removeprefix(FOREIGN))
        return LetterId(number, place, foreign), key_number(epoch)
    except ValueError:
        raise StateError("not the key of a dead-letter record") from None
