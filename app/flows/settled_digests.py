"""Reads settled records of the main topic again, to check that they are still the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as KafkaTopicPartition

from app.delivery.partition_record import PartitionState
from app.delivery.pipeline import Pipeline
from app.delivery.record_digest import RecordDigest
from app.kafka.admin import KafkaAccessError
from app.kafka.clients import bootstrap_servers, consumer_config
from app.settings import KafkaSettings

POLL_SECONDS = 0.2
# One record of a partition is needed; the broker sends a larger one as a whole.
_FETCH_BYTES = 16 * 1024
_AHEAD_KIB = 256
# The partition has moved, or the broker is away for a moment: the library asks again.
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})

# The record is there, but this library cannot read it: nothing is known about it.
_UNREADABLE = frozenset(
    {KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED, KafkaError.INVALID_MSG}
)

_silent = logging.getLogger(f"{__name__}.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def read_digests(
    kafka: KafkaSettings, pipeline: Pipeline, wanted: Mapping[int, Collection[int]], patience_seconds: float
) -> dict[int, dict[int, RecordDigest | None]]:
    """The digests of the records at these offsets of the main topic; None: only later records are there. Left out:
    offsets that are not written yet, that cannot be read, or that are out of range at a leader with a shorter log.

    Raises:
        KafkaAccessError: the topic cannot be read, or no broker answers in time.
    """
    found: dict[int, dict[int, RecordDigest | None]] = {}
    left = {number: sorted(offsets) for number, offsets in wanted.items()}
    if not any(left.values()):
        return found
    config = consumer_config(kafka, pipeline.group) | {
        "queued.max.messages.kbytes": _AHEAD_KIB,
        "max.partition.fetch.bytes": _FETCH_BYTES,
        # Otherwise a damaged record would count as another record.
        "check.crcs": True,
    }
    consumer = Consumer(dict(config), logger=_silent)
    try:
        while left := {number: offsets for number, offsets in left.items() if offsets}:
            # One offset of every partition at a time, so that one request asks for all of them.
            offsets = {number: offsets.pop(0) for number, offsets in left.items()}
            for one, number in _first_records(kafka, pipeline.topic, consumer, offsets, patience_seconds):
                wanted_at = offsets[number]
                # A lower offset: the position was out of range, and the library went back to the beginning.
                if one.offset >= wanted_at:
                    found.setdefault(number, {})[wanted_at] = one if one.offset == wanted_at else None
    finally:
        consumer.close()
    return found


def differing(
    kafka: KafkaSettings, pipeline: Pipeline, states: Iterable[tuple[int, PartitionState]], patience_seconds: float
) -> dict[int, int]:
    """Partition -> lowest offset at which the main topic holds another record than the one that was settled.

    Raises:
        KafkaAccessError: the topic cannot be read, or no broker answers in time.
    """
    settled = {number: state.to_compare() for number, state in states}
    wanted = {number: {one.offset for one in those} for number, those in settled.items()}
    found = read_digests(kafka, pipeline, wanted, patience_seconds)
    others = {
        number: [one.offset for one in settled[number] if those.get(one.offset) not in (None, one)]
        for number, those in found.items()
    }
    return {number: min(offsets) for number, offsets in others.items() if offsets}


def _first_records(
    kafka: KafkaSettings, topic: str, consumer: Consumer, offsets: Mapping[int, int], patience_seconds: float
) -> Iterable[tuple[RecordDigest, int]]:
    """The first record from each offset on; none where the partition ends before one."""
    waiting = set(offsets)
    consumer.assign([KafkaTopicPartition(topic, number, offset) for number, offset in offsets.items()])
    deadline = time.monotonic() + patience_seconds
    while waiting:
        # One at a time: the library would wait for a batch to fill.
        if (message := consumer.poll(POLL_SECONDS)) is not None:
            error, number, offset = message.error(), message.partition(), message.offset()
            if error is None:
                if number in waiting and offset is not None:
                    waiting.discard(number)
                    yield RecordDigest.of(offset, _bytes(message.key()), _bytes(message.value())), number
            elif error.code() == KafkaError._PARTITION_EOF or error.code() in _UNREADABLE:
                waiting.discard(number if number is not None else -1)
            elif not error.retriable() and error.code() not in _PASSING:
                raise _unreadable(kafka, topic, error.str())
        if waiting and time.monotonic() > deadline:
            raise _unreadable(kafka, topic, f"no answer within {patience_seconds:g} s")


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def _unreadable(kafka: KafkaSettings, topic: str, why: str) -> KafkaAccessError:
    return KafkaAccessError(
        f"Kafka at {', '.join(bootstrap_servers(kafka))}: could not read topic {topic} again: {why}. Check that "
        "the broker runs and that this user may read the topic."
    )
