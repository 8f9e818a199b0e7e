"""Records that other programs put into our dead-letter topic, or into the main topic as a redrive that fits nothing.

They are listed by what their headers say. Header names: Kafka Connect (KIP-298) ``__connect.errors.``, Kafka Streams
(KIP-1034) ``__streams.errors.``, Spring for Apache Kafka ``kafka_dlt-``. No I/O.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from app.delivery.counts import Settlement
from app.delivery.dead_letter_record import DeadLetter, Holder, LetterStatus, ValuePlace
from app.delivery.errors import SYNC_FOREIGN
from app.delivery.fingerprint import Fingerprint
from app.delivery.headers import FOREIGN, PREFIX, SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TOPIC, SPRING_PREFIX, cut
from app.delivery.letter_id import LetterId
from app.delivery.outcome import UNKNOWN_MARKET, Outcome
from app.delivery.record import Headers, SourceRecord, is_text
from app.delivery.state_fields import LARGEST

CONNECT, STREAMS = "__connect.errors.", "__streams.errors."
_TOOLS = {"kafka-connect": CONNECT, "kafka-streams": STREAMS, "spring-kafka": SPRING_PREFIX}
REPUBLISHED, OTHER = "republished", "other"
# What stands as the entity of a foreign dead letter.
TOOLS = (*_TOOLS, REPUBLISHED, OTHER)
_MOST_PARTITIONS = 2**31
# The class of an exception or a topic's name; a message may hold personal data and is not repeated.
_NAME = re.compile(r"[A-Za-z0-9._$-]{1,200}")
_NAME_BYTES = 512
# Headers of those tools that say where a record comes from and what kind of error it met. Others may hold values.
_TELLING = frozenset(
    {CONNECT + name for name in ("topic", "partition", "offset", "connector.name", "task.id", "stage", "class.name")}
    | {CONNECT + "exception.class.name"}
    | {STREAMS + name for name in ("topic", "partition", "offset", "exception")}
    | {SPRING_PREFIX + name for name in ("original-topic", "original-consumer-group", "exception-fqcn")}
    | {SPRING_PREFIX + "exception-cause-fqcn"}
)
_MESSAGES = ("exception.message", "message", "exception-message")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record says that it comes from; None: it does not say. ``group``: the one that gave it up."""

    topic: str | None
    partition: int | None
    offset: int | None
    group: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it names one event."""
        return None not in (self.topic, self.partition, self.offset)

    def letter(self, topic: str) -> LetterId | None:
        """The dead letter of an event of this main topic that the record claims to be."""
        if self.topic != topic or self.partition is None or self.offset is None:
            return None
        return LetterId(self.partition, self.offset)


def origin_of(record: SourceRecord) -> Origin | None:
    """What the headers say of a record's origin, ours before those of Spring Kafka; None: nothing."""
    group = _text(record, SPRING_PREFIX + "original-consumer-group")
    ours = Origin(_text(record, SOURCE_TOPIC), _number(record, SOURCE_PARTITION), _number(record, SOURCE_OFFSET), group)
    if ours.is_complete:
        return ours
    topic = _text(record, SPRING_PREFIX + "original-topic")
    partition = _binary(record, SPRING_PREFIX + "original-partition", ">i")
    springs = Origin(topic, partition, _binary(record, SPRING_PREFIX + "original-offset", ">q"), group)
    if springs.is_complete or (ours.topic is None and topic is not None):
        return springs
    return ours if ours.topic is not None else None


def is_republished(record: SourceRecord, topic: str) -> bool:
    """Whether a record of a main topic was a dead letter once: it has headers in which this program names a source, or
    Spring's say that it comes from this topic. It is no new event, even if they do not name a dead letter."""
    if any(name in (SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET) for name, _ in record.headers):
        return True
    return _text(record, SPRING_PREFIX + "original-topic") == topic


def claimed_letter(record: SourceRecord, topic: str) -> LetterId | None:
    """The dead letter that a record claims to be: its headers name an event of this main topic."""
    if not any(name.startswith((PREFIX, SPRING_PREFIX)) for name, _ in record.headers):
        return None
    origin = origin_of(record)
    return None if origin is None else origin.letter(topic)


def fits(record: SourceRecord, letter: DeadLetter, group: str) -> bool:
    """Whether a record that claims to be a dead letter is one: same key, and given up by this group if it says so."""
    if any(name == FOREIGN for name, _ in record.headers):
        return False
    origin = origin_of(record)
    if origin is not None and origin.group not in (None, group):
        return False
    return record.key is not None and _consumer(record) == letter.settlement.consumer_id


def foreign_letter(record: SourceRecord, now_ms: int) -> DeadLetter:
    """The dead-letter record of a foreign record. ``record``: as it stands in the dead-letter topic."""
    tool, message = _said(record)
    settlement = Settlement(
        consumer_id=_consumer(record),
        event_id=str(LetterId(record.partition, record.offset, foreign=True)),
        operation="-",
        market=UNKNOWN_MARKET,
        day=record.day,
        outcome=Outcome.FAILED,
        reason=SYNC_FOREIGN.code,
    )
    at_ms = min(max(record.timestamp_ms, 0), now_ms)
    return DeadLetter(
        status=LetterStatus.OPEN,
        settlement=settlement,
        fingerprint=Fingerprint(SYNC_FOREIGN.code, tool, "-"),
        message=message,
        first_failed_ms=at_ms,
        last_failed_ms=at_ms,
        opened_ms=now_ms,
        place=ValuePlace(Holder.DLQ, record.offset),
        size=record.size,
        has_key=is_text(record.key),
        changed_ms=now_ms,
    )


def is_telling(name: str, value: bytes) -> bool:
    """Whether a header says where a record comes from or what kind of error it met, and can hold nothing personal.

    >>> is_telling("__connect.errors.topic", b"orders"), is_telling("__connect.errors.exception.message", b"Ann")
    (True, False)
    """
    return name in _TELLING and _NAME.fullmatch(value.decode("utf-8", "replace")) is not None


def as_new_event(record: SourceRecord) -> Headers:
    """The headers of a foreign record that is published as a new event: what its producer gave it."""
    told = (PREFIX, SPRING_PREFIX, CONNECT, STREAMS)
    return tuple((name, value) for name, value in record.headers if not name.startswith(told))


def _said(record: SourceRecord) -> tuple[str, str]:
    """The tool that wrote a record, and what it says, without values."""
    names = [name for name, _ in record.headers]
    for tool, prefix in _TOOLS.items():
        if not any(name.startswith(prefix) for name in names):
            continue
        kind = _text(record, prefix + "exception.class.name") or _text(record, prefix + "exception")
        kind = kind or _text(record, prefix + "exception-fqcn")
        if kind is None:
            has_message = any(prefix + name in names for name in _MESSAGES)
            kind = "a message, which dlq show --show-values shows" if has_message else "no exception named"
        places = [_text(record, prefix + name) for name in ("topic", "partition", "offset")]
        if prefix == SPRING_PREFIX and (origin := origin_of(record)) is not None:
            places = [
                None if place is None else str(place) for place in (origin.topic, origin.partition, origin.offset)
            ]
        where = "-".join(place for place in places if place is not None)
        return tool, cut(f"{tool}: {kind}{', from ' + where if where else ''}")
    if (origin := origin_of(record)) is not None:
        return (
            REPUBLISHED,
            f"it claims to be {origin.topic}-{origin.partition}-{origin.offset}, and fits none of ours",
        )
    return OTHER, "another program wrote it; its headers say nothing"


def _consumer(record: SourceRecord) -> str | None:
    if record.key is None or not is_text(record.key):
        return None
    return record.key.decode()[:_NAME_BYTES]


def _text(record: SourceRecord, name: str) -> str | None:
    value = record.header(name)
    return value if value is not None and _NAME.fullmatch(value) else None


def _number(record: SourceRecord, name: str) -> int | None:
    text = record.header(name) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        return None
    return _bounded(int(text), name == SOURCE_PARTITION)


def _binary(record: SourceRecord, name: str, form: str) -> int | None:
    value = next((value for key, value in reversed(record.headers) if key == name), None)
    if value is None or len(value) != struct.calcsize(form):
        return None
    return _bounded(struct.unpack(form, value)[0], form == ">i")


def _bounded(number: int, is_partition: bool) -> int | None:
    return number if 0 <= number < (_MOST_PARTITIONS if is_partition else LARGEST) else None
