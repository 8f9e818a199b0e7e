"""The headers of retry and dead-letter records: our own, and those that other tools read."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from app.delivery.record import Headers, SourceRecord

PREFIX = "x-sync-"
EVENT_ID = "x-sync-event-id"
ATTEMPT = "x-sync-attempt"
DUE_AT = "x-sync-due-at"
FIRST_FAILED_AT = "x-sync-first-failed-at"
LAST_FAILED_AT = "x-sync-last-failed-at"
REASON = "x-sync-reason"
MESSAGE = "x-sync-message"
SOURCE_TOPIC = "x-sync-source-topic"
SOURCE_PARTITION = "x-sync-source-partition"
SOURCE_OFFSET = "x-sync-source-offset"
SOURCE_TIMESTAMP = "x-sync-source-timestamp"
PARKED_BY = "x-sync-parked-by"  # the mark of the partition record
DAY = "x-sync-day"  # the day that the event counts under, if its timestamp does not say it
REDRIVE_COUNT = "x-sync-redrive-count"
VALUE_OMITTED = "x-sync-value-omitted"
FOREIGN = "x-sync-foreign"  # a record of the main topic that claimed to be a dead letter and fits none: its position
PUBLISHED_BY = "x-sync-published-by"  # who published an export of dead letters
TASK_ID = "x-sync-task-id"
ENTITY = "x-sync-entity"
OPERATION = "x-sync-operation"
MARKET = "x-sync-market"

# The headers of a dead letter that Spring Kafka's tools read.
SPRING_PREFIX = "kafka_dlt-"

# A record that claims to have been redriven more often than this is not from this program.
_MOST_REDRIVES = 1_000_000_000

# Long enough for any sensible message; short enough to leave room for the producer's own headers.
MESSAGE_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Failing:
    """What the headers say about a failing event. Times in ms since the epoch. ``redrives``: how often it was handled
    as a dead letter."""

    event_id: str
    attempts: int
    due_ms: int = 0
    first_failed_ms: int = 0
    last_failed_ms: int = 0
    reason: str = ""
    message: str = ""
    redrives: int = 0


def _text(value: str | int) -> bytes:
    return str(value).encode(errors="replace")


def cut(message: str, size: int = MESSAGE_BYTES) -> str:
    """The message, cut so that it fits into ``size`` bytes of UTF-8."""
    encoded = message.encode(errors="replace")
    return message if len(encoded) <= size else encoded[: size - 3].decode(errors="ignore") + "..."


def original(headers: Headers) -> Headers:
    """The headers that the producer gave the record: all but ours."""
    return tuple((name, value) for name, value in headers if not name.startswith(PREFIX))


def retry_headers(record: SourceRecord, failing: Failing, mark: str | None) -> Headers:
    """Headers of a copy in the retry topic: the original ones, ours, and the mark of the partition record."""
    parked_by: Headers = ((PARKED_BY, _text(mark)),) if mark else ()
    return (*original(record.headers), *our_headers(record, failing), *parked_by)


def our_headers(record: SourceRecord, failing: Failing) -> Headers:
    """Our own headers: a few KiB at most, however large the record's headers are."""
    ours: list[tuple[str, bytes | None]] = [
        (EVENT_ID, _text(failing.event_id)),
        (ATTEMPT, _text(failing.attempts)),
        (DUE_AT, _text(failing.due_ms)),
        (SOURCE_TOPIC, _text(record.topic)),
        (SOURCE_PARTITION, _text(record.partition)),
        (SOURCE_OFFSET, _text(record.offset)),
        (SOURCE_TIMESTAMP, _text(record.timestamp_ms)),
        (REDRIVE_COUNT, _text(failing.redrives) if failing.redrives else record_redrives(record.headers)),
    ]
    if record.counted_day:
        ours.append((DAY, _text(record.counted_day)))
    if failing.reason:
        ours += [
            (FIRST_FAILED_AT, _text(failing.first_failed_ms)),
            (LAST_FAILED_AT, _text(failing.last_failed_ms)),
            (REASON, _text(failing.reason)),
            (MESSAGE, _text(cut(failing.message))),
        ]
    return tuple(ours)


def dead_letter_headers(record: SourceRecord, failing: Failing, group: str, exception: str) -> Headers:
    """Headers of a dead letter: our own, and those that Spring Kafka's tools read, in Spring's encodings.

    Source: Spring for Apache Kafka, reference, "Dead-letter topic naming / headers": text for topic, group and
    exception; 4-byte and 8-byte big-endian integers for partition, offset and timestamp.
    """
    return (
        *our_headers(record, failing),
        ("kafka_dlt-original-topic", _text(record.topic)),
        ("kafka_dlt-original-consumer-group", _text(group)),
        ("kafka_dlt-original-partition", struct.pack(">i", record.partition)),
        ("kafka_dlt-original-offset", struct.pack(">q", record.offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", record.timestamp_ms)),
        ("kafka_dlt-exception-fqcn", _text(exception)),
        ("kafka_dlt-exception-message", _text(cut(failing.message))),
    )


def kind_headers(entity: str, operation: str, market: str, task: str, mark: str | None) -> Headers:
    """Headers of a dead letter that say what failed where, and who wrote it."""
    headers: Headers = ((ENTITY, _text(entity)), (OPERATION, _text(operation)), (MARKET, _text(market)))
    if task:
        headers += ((TASK_ID, _text(task)),)
    return (*headers, (PARKED_BY, _text(mark))) if mark else headers


def record_redrives(headers: Headers) -> bytes:
    """How often the record was redriven, as its header says; anything but a possible number counts as 0."""
    value = next((value for name, value in reversed(headers) if name == REDRIVE_COUNT and value), b"0")
    return value if len(value) < len(str(_MOST_REDRIVES)) and value.isdigit() else b"0"


class NotOurCopy(ValueError):
    """A record of the retry topic that is not a copy of an event of this partition and group."""


def source_of(copy: SourceRecord, topic: str, mark: str | None) -> SourceRecord:
    """The record that a copy in the retry topic was made of: key, value, original headers, source position and time.

    Args:
        copy: the record of the retry topic; a copy stands in the partition number that its event came from.
        topic: the main topic.
        mark: the mark of the partition record; None: its copies carry none.

    Raises:
        NotOurCopy: not a copy that this group made of an event of this topic and partition.
    """
    try:
        partition, offset = int(copy.header(SOURCE_PARTITION) or ""), int(copy.header(SOURCE_OFFSET) or "")
        timestamp = int(copy.header(SOURCE_TIMESTAMP) or "")
    except ValueError:
        raise NotOurCopy("source headers are missing or not numbers") from None
    if not (0 <= partition < 2**31 and 0 <= offset < 2**63 and -(2**63) <= timestamp < 2**63):
        raise NotOurCopy("source headers hold numbers that Kafka never uses")
    if copy.header(SOURCE_TOPIC) != topic or partition != copy.partition:
        raise NotOurCopy("it is a copy from another topic or partition")
    if mark is not None and copy.header(PARKED_BY) != mark:
        raise NotOurCopy("another group wrote it, or it was written before the topic was recreated")
    return SourceRecord(topic, partition, offset, timestamp, copy.key, copy.value, original(copy.headers))


def edited_headers(event: SourceRecord) -> Headers:
    """Headers of a dead letter's other bytes in the dead-letter topic: those of the producer, and the source position.

    Args:
        event: of the main topic, with the new value.
    """
    return (
        *(header for header in original(event.headers) if not header[0].startswith(SPRING_PREFIX)),
        (SOURCE_TOPIC, _text(event.topic)),
        (SOURCE_PARTITION, _text(event.partition)),
        (SOURCE_OFFSET, _text(event.offset)),
        (SOURCE_TIMESTAMP, _text(event.timestamp_ms)),
    )


def lost_its_value(record: SourceRecord) -> bool:
    """Whether a record is a dead letter that did not fit with its value: its value is not what the producer sent."""
    return any(name == VALUE_OMITTED for name, _ in record.headers)


def buried_event(letter: SourceRecord, topic: str, offset: int) -> SourceRecord | None:
    """The event that a dead letter was made of: key, value, its producer's headers, source position and time.

    Args:
        letter: the record of the dead-letter topic; it stands in the partition number of its event.
        topic: the main topic.
        offset: of the event.

    Returns None if the record has no value of its own, or is another event's dead letter: the topic was recreated.
    """
    if letter.header(SOURCE_PARTITION) != str(letter.partition) or letter.header(SOURCE_OFFSET) != str(offset):
        return None
    if lost_its_value(letter):
        return None
    try:
        timestamp = int(letter.header(SOURCE_TIMESTAMP) or "")
    except ValueError:
        timestamp = letter.timestamp_ms
    theirs = tuple(header for header in original(letter.headers) if not header[0].startswith(SPRING_PREFIX))
    timestamp = min(max(timestamp, -(2**63)), 2**63 - 1)
    return SourceRecord(topic, letter.partition, offset, timestamp, letter.key, letter.value, theirs)
