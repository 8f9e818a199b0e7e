"""What a read of settled records says about offsets that are not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from app.delivery.pipeline import Pipeline
from app.delivery.record_digest import RecordDigest
from app.flows import settled_digests
from app.settings import KafkaSettings


class Message:
    """A record at ``offset``, or the end of partition 0."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._offset is None else None

    def offset(self) -> int | None:
        return self._offset

    def partition(self) -> int:
        return 0

    def key(self) -> bytes:
        return b"C-1"

    def value(self) -> bytes:
        return b"%d" % (self._offset or 0)


class Consumer:
    """A partition that holds these offsets; like librdkafka it begins at the first one when a position is behind the
    end (``auto.offset.reset``)."""

    def __init__(self, *offsets: int) -> None:
        self._offsets, self._at = offsets, 0

    def assign(self, tps: list[TopicPartition]) -> None:
        [tp] = tps
        self._at = tp.offset if tp.offset <= max(self._offsets, default=-1) + 1 else 0

    def poll(self, timeout: float) -> Message:
        return Message(next((offset for offset in self._offsets if offset >= self._at), None))

    def close(self) -> None:
        pass


def at(offset: int) -> RecordDigest:
    return RecordDigest.of(offset, b"C-1", b"%d" % offset)


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ((0, 1, 2, 3), {0: {3: at(3)}}),
        ((0, 1, 2, 5), {0: {3: None}}),  # compaction
        ((4, 5), {0: {3: None}}),  # retention
        ((0, 1, 2), {}),  # the topic may hold it later
        ((0, 1), {}),  # a shorter log, read from its beginning: nothing is known
        ((), {}),
    ],
)
def test_only_a_record_behind_the_wanted_offset_says_that_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, held: tuple[int, ...], found: Mapping[int, Any]
) -> None:
    monkeypatch.setattr(settled_digests, "Consumer", lambda *_, **__: Consumer(*held))
    pipeline = Pipeline("consumers", "main", "group")
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    assert settled_digests.read_digests(kafka, pipeline, {0: [3]}, 5.0) == found
