"""Publishes events to the main topic, for the ``publish`` command and the demo."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from confluent_kafka import KafkaError

from app.delivery.errors import EVENT_TOO_LARGE
from app.delivery.headers import PUBLISHED_BY, cut, edited_headers
from app.delivery.operator_task import BY_BYTES
from app.kafka.publisher import DELIVERY_SECONDS, Publisher, is_too_large
from app.profile.entities import Catalog
from app.profile.event import ProfileEvent
from app.profile.event_lines import ExportedLine, RejectedLine, read_lines_to_publish
from app.profile.exported_letter import NotAnExport, read_export
from app.profile.samples.samples import to_json
from app.settings import KafkaSettings

# ``code`` of a line of ``dlq export`` that is rejected.
EXPORT = "EXPORT"


@dataclass(frozen=True, slots=True)
class Published:
    """The result of publishing. ``stopped_after``: the last line that was read, if Kafka took no more.

    ``redrives``: how many of the published lines are exported dead letters.
    """

    published: int
    rejected: tuple[RejectedLine, ...] = ()
    stopped_after: int | None = None
    redrives: int = 0


class _Deliveries:
    """Counts the records that Kafka has taken, and reports those that it has not."""

    def __init__(self, on_rejected: Callable[[RejectedLine], object]) -> None:
        self.published = self.redrives = 0
        self.exports: set[int] = set()  # lines that are on their way
        self.rejected: list[RejectedLine] = []
        self.broken = False
        self._on_rejected = on_rejected

    def reject(self, line: RejectedLine) -> None:
        self.rejected.append(line)
        self._on_rejected(line)

    def delivered(self, line: int, refused: KafkaError | None) -> None:
        is_export = line in self.exports
        self.exports.discard(line)
        if refused is None:
            self.published += 1
            self.redrives += is_export
        elif is_too_large(refused):
            self.reject(RejectedLine(line, EVENT_TOO_LARGE.code, "the topic takes no record of this size"))
        else:
            self.broken = True
            self.reject(RejectedLine(line, refused.name(), f"Kafka did not acknowledge it: {refused.str()}"))


def publish_lines(
    stream: BinaryIO,
    catalog: Catalog,
    kafka: KafkaSettings,
    topic: str,
    *,
    by: str = "",
    on_rejected: Callable[[RejectedLine], object] = lambda line: None,
    on_line: Callable[[int], object] = lambda line: None,
    delivery_seconds: float = DELIVERY_SECONDS,
) -> Published:
    """Publish the JSON lines of a stream, unchanged and with their consumerId as the key; lines of ``dlq export`` as
    redrives of their events.

    Lines that are not events are rejected; the others are sent. If Kafka fails to take an event for another reason than
    its size, no more lines are read, so that no later event of its consumer overtakes it. An event that is not
    acknowledged within ``delivery_seconds`` counts as failed. ``code`` of a rejected line is a registry code,
    ``EXPORT``, or the name that Kafka gives to its error.

    Args:
        by: who publishes; the history of an exported dead letter names them.

    Raises:
        KafkaAccessError: Kafka cannot be reached, or has no such topic.
    """
    deliveries = _Deliveries(on_rejected)
    last: int | None = None
    with Publisher(kafka, topic, deliveries.delivered, delivery_seconds=delivery_seconds) as publisher:
        for entry in read_lines_to_publish(stream, catalog, publisher.largest):
            last = entry.line
            if isinstance(entry, RejectedLine):
                deliveries.reject(entry)
            elif isinstance(entry, ExportedLine):
                _send_again(publisher, deliveries, entry, topic, by)
            else:
                publisher.send(entry.event.consumer_id.encode(), entry.value, entry.line)
            on_line(entry.line)
            if deliveries.broken:
                break
    rejected = tuple(sorted(deliveries.rejected, key=lambda line: line.line))
    return Published(deliveries.published, rejected, last if deliveries.broken else None, deliveries.redrives)


def _send_again(publisher: Publisher, deliveries: _Deliveries, line: ExportedLine, topic: str, by: str) -> None:
    """Send an exported dead letter with its bytes and its source headers, to the partition of its event: the workers
    then know that it is no new event."""
    try:
        event = read_export(line.document, topic).record
    except NotAnExport as problem:
        deliveries.reject(RejectedLine(line.line, EXPORT, str(problem)))
        return
    if event.partition >= publisher.partitions:
        deliveries.reject(RejectedLine(line.line, EXPORT, f"the topic has no partition {event.partition}"))
        return
    headers = (*edited_headers(event), (PUBLISHED_BY, cut(by, BY_BYTES).encode(errors="replace")))
    deliveries.exports.add(line.line)
    publisher.send(event.key or b"", event.value, line.line, headers=headers, partition=event.partition)


def publish_events(
    events: Iterable[ProfileEvent],
    kafka: KafkaSettings,
    topic: str,
    *,
    on_sent: Callable[[int], object] = lambda number: None,
) -> Published:
    """Publish events, numbered from 1. ``rejected``: those that Kafka did not take.

    Raises:
        KafkaAccessError: Kafka cannot be reached, or has no such topic.
    """
    deliveries = _Deliveries(lambda line: None)
    with Publisher(kafka, topic, deliveries.delivered) as publisher:
        for number, event in enumerate(events, start=1):
            value = json.dumps(to_json(event), ensure_ascii=False, separators=(",", ":")).encode()
            publisher.send(event.consumer_id.encode(), value, number)
            on_sent(number)
    return Published(deliveries.published, tuple(deliveries.rejected))
