"""Reads the dead-letter topic: the number of records, and of the events that they belong to."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from app.delivery.pipeline import Pipeline
from app.kafka.admin import Admin, KafkaAccessError
from app.kafka.clients import consumer_config
from app.kafka.headers import headers_of
from app.settings import KafkaSettings

# Reading thousands of small records on this machine takes a second.
READ_SECONDS = 30.0

# The library's own log lines repeat what our errors say.
_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. ``source``: partition and offset in the main topic. ``reason``: a code of the error registry."""

    source: tuple[bytes | None, bytes | None]
    reason: str


class DeadLetters:
    """A reader of the dead-letter topic that commits nothing. All methods block and may raise ``KafkaAccessError``."""

    def __init__(self, settings: KafkaSettings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._admin = Admin(settings)

    def count(self) -> int:
        """The number of records, including repeated ones. It is quick enough to call often."""
        return sum(self.ends().values())

    def events(self) -> int:
        """The number of different events with a dead letter. After a crash, an event may have two."""
        return len({letter.source for letter in self.read()})

    def read(
        self, start: Mapping[int, int] | None = None, end: Mapping[int, int] | None = None
    ) -> tuple[DeadLetter, ...]:
        """The dead letters from ``start`` to before ``end`` (see ``ends``); by default all."""
        begins = start or {}
        ends = {
            partition: last
            for partition, last in (self.ends() if end is None else end).items()
            if last > begins.get(partition, 0)
        }
        if not ends:
            return ()
        consumer = Consumer(dict(consumer_config(self._settings, f"{self._pipeline.group}-demo")), logger=_silent)
        try:
            topic = self._pipeline.dlq_topic
            consumer.assign([KafkaTopicPartition(topic, partition, begins.get(partition, 0)) for partition in ends])
            return tuple(self._letters(consumer, ends))
        except KafkaException as error:
            raise KafkaAccessError(f"{self._pipeline.dlq_topic} cannot be read: {error.args[0].str()}") from error
        finally:
            consumer.close()

    def ends(self) -> Mapping[int, int]:
        """Partition -> the offset of its next record."""
        topic = self._pipeline.dlq_topic
        found = self._admin.ends([(topic, number) for number in range(self._settings.partitions)])
        return {number: end for (_, number), end in found.items()}

    def _letters(self, consumer: Consumer, ends: Mapping[int, int]) -> list[DeadLetter]:
        found = []
        unread = set(ends)
        deadline = time.monotonic() + READ_SECONDS
        while unread:
            if time.monotonic() > deadline:
                raise KafkaAccessError(f"{self._pipeline.dlq_topic} was not read to its end within {READ_SECONDS:g} s")
            message = consumer.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is None:
                if message.offset() < ends[message.partition()]:
                    found.append(_letter(message))
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if error is not None or message.offset() + 1 >= ends[message.partition()]:
                unread.discard(message.partition())
        return found


def _letter(message: Message) -> DeadLetter:
    headers = dict(headers_of(message))
    source = headers.get("x-sync-source-partition"), headers.get("x-sync-source-offset")
    return DeadLetter(source, (headers.get("x-sync-reason") or b"").decode(errors="replace"))
