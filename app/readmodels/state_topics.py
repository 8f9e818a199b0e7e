"""What the broker says about the followed topics: their IDs, beginnings and ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from app.kafka.daemon_threads import in_background
from app.kafka.partition_offsets import PartitionOffsets

# A broker that does not answer within this time is away.
REQUEST_SECONDS = 5.0

# While waiting for an answer, a stop is noticed within this time.
_SLICE_SECONDS = 0.1

_MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})


class TopicMissing(Exception):
    """A topic does not exist, or not yet."""


class Stopped(Exception):
    """The follower was stopped while it waited for an answer."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """``id``: assigned by the broker (KIP-516); a topic that is deleted and created again gets another one."""

    topic: str
    id: str
    begin: Mapping[int, int]
    end: Mapping[int, int]

    def continues(self, positions: Mapping[int, int]) -> bool:
        """Whether reading can go on at these positions without missing or repeating a record.

        False if unread records were deleted at the beginning, or if the topic ends below a position, because it was
        truncated or replaced.
        """
        return positions.keys() <= self.end.keys() and all(
            self.begin[partition] <= position <= self.end[partition] for partition, position in positions.items()
        )

    def ends_before(self, positions: Mapping[int, int]) -> bool:
        """Whether the topic has these partitions but ends below one of the positions.

        A broker that has just taken a partition over may report a lower end for a moment, until its replicas have
        reported theirs.
        """
        return positions.keys() <= self.end.keys() and any(
            position > self.end[partition] for partition, position in positions.items()
        )


def inspect(
    admin: AdminClient,
    offsets: PartitionOffsets,
    topics: Iterable[str],
    stopped: Callable[[], bool],
    optional: Collection[str] = (),
) -> dict[str, TopicFacts]:
    """The facts about every topic; a topic of ``optional`` that does not exist is left out.

    Raises:
        TopicMissing: one of the other topics does not exist.
        KafkaException: the broker cannot be reached, or refuses.
        Stopped: ``stopped`` became true while waiting.
    """
    names = list(topics)
    described: dict[str, Any] = {}
    for name, future in identities(admin, names).items():
        try:
            described[name] = _answer(future, name, stopped)
        except TopicMissing:
            if name not in optional:
                raise
            names.remove(name)
    partitions = [(name, p.id) for name, d in described.items() for p in d.partitions]
    label = " and ".join(names)
    begin = _answer(in_background("ask where topics begin", partial(offsets.begins, partitions)), label, stopped)
    end = _answer(in_background("ask where topics end", partial(offsets.ends, partitions)), label, stopped)
    return {
        name: TopicFacts(
            name,
            str(described[name].topic_id),
            {p: offset for (topic, p), offset in begin.items() if topic == name},
            {p: offset for (topic, p), offset in end.items() if topic == name},
        )
        for name in names
    }


def identities(admin: AdminClient, topics: Iterable[str]) -> dict[str, Future[Any]]:
    """Request the descriptions of topics, without waiting for the answers."""
    answers: dict[str, Future[Any]] = admin.describe_topics(
        TopicCollection(list(topics)), request_timeout=REQUEST_SECONDS
    )
    return answers


def _answer(future: Future[Any], topic: str, stopped: Callable[[], bool]) -> Any:
    while not wait([future], timeout=_SLICE_SECONDS).done:
        if stopped():
            raise Stopped
    try:
        return future.result()
    except KafkaException as error:
        if error.args[0].code() in _MISSING:
            raise TopicMissing(topic) from None
        raise
