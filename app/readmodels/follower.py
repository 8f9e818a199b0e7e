"""One session of following the topics, from the stored positions until a new session is needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient

from app.delivery.pipeline import Pipeline
from app.delivery.record import TopicPartition
from app.kafka.admin import Admin
from app.kafka.clients import consumer_config
from app.kafka.daemon_threads import in_background
from app.kafka.partition_offsets import PartitionOffsets
from app.readmodels.batch import ReadBatch
from app.readmodels.followed import ALL, LATER, Followed, topic_of
from app.readmodels.progress import Progress
from app.readmodels.state_topics import REQUEST_SECONDS, TopicFacts, identities, inspect
from app.readmodels.store import Store
from app.settings import KafkaSettings

log = structlog.stdlib.get_logger(__name__)

# A stop is noticed within this time.
POLL_SECONDS = 0.2
# Records that arrive within this time share a transaction, so the answers of a busy follower are about this old. The
# shorter time applies while a worker that takes partitions over waits for a record, or while the file is being built.
GATHER_SECONDS = 0.1
GATHER_SECONDS_IN_A_HURRY = 0.02
# The broker collects records before it answers a fetch: one answer per record would cost both sides far more.
FETCH_WAIT_MS, FETCH_BYTES = 50, 1_000_000
# The largest transaction while catching up. Partition records may be large, so they are fetched in small portions, and
# only the last value of each key is kept.
BATCH_RECORDS = 5_000
PORTION_RECORDS = 64
# How much librdkafka fetches ahead.
_AHEAD_KIB = 16_384

# The time between two looks at the ends of the topics. An idle follower's answers are at most this old.
LOOK_SECONDS = 0.5
# The time between two checks that the topics are still the same ones.
IDENTITY_SECONDS = 10.0

# Compaction drops a tombstone after delete.retention.ms (24 h by default), so data that was not followed for longer may
# hold records that were deleted. Half of that time is safe.
STALE_AFTER_SECONDS = 12 * 3600.0

# A topic may end below a stored position while its brokers are still agreeing on its end. If it still does after this
# time, the topic was truncated and the file is rebuilt.
LOWER_END_SECONDS = 60.0

# librdkafka repeats its log lines while a broker is away; the follower reports the same errors itself.
_silent = logging.getLogger(f"{__name__}.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class SessionOver(Exception):
    """The topics have changed since the start of the session, so a new session is needed."""


class EndBehind(Exception):
    """A topic ends below a stored position, which may be temporary."""


class Follower:
    """Reads the chosen topics into a store. Used by one thread, which returns when ``stopped`` says so.

    It joins no consumer group: all partitions are assigned, and the positions are in the store. The configuration names
    the group because librdkafka demands a name, and because this is the name that access rules allow.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        pipeline: Pipeline,
        progress: Progress,
        stopped: Callable[[], bool],
        unreadable: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        topics: Collection[Followed] = ALL,
        optional: Collection[Followed] = (),
    ) -> None:
        """``optional``: topics that need not exist; a session goes on without them."""
        self._kafka = kafka
        self._pipeline = pipeline
        self._topics = [topic_of(pipeline, one) for one in Followed if one in topics]
        self._optional = {topic_of(pipeline, one) for one in optional}
        self._later = {topic_of(pipeline, one) for one in LATER}
        self._progress = progress
        self._stopped = stopped
        self._unreadable = unreadable
        self._clock = clock
        self._behind_since: float | None = None

    def follow(self, store: Store, started: Callable[[], None]) -> None:
        """Follow until stopped. ``started`` is called once the broker has answered.

        Raises:
            TopicMissing: a topic does not exist.
            KafkaAccessError: the broker cannot be reached, or refuses.
            SessionOver: call again at once.
            EndBehind: call again after a pause; the stored data stays valid.
            sqlite3.Error: the store cannot be written.
        """
        topics = " and ".join(self._topics)
        with Admin(self._kafka, timeout_seconds=REQUEST_SECONDS) as access, access.named_errors("follow", topics):
            offsets = PartitionOffsets(self._kafka, self._pipeline.group, REQUEST_SECONDS)
            try:
                self._session(access.client, offsets, store, started)
            finally:
                # Not here: a question to a broker that is away may be in progress.
                in_background("close the client that asks for offsets", offsets.close)

    def _session(
        self, admin: AdminClient, offsets: PartitionOffsets, store: Store, started: Callable[[], None]
    ) -> None:
        looked = time.monotonic()
        facts = inspect(admin, offsets, self._topics, self._stopped, self._optional)
        self._without(store, set(self._topics) - facts.keys())
        positions = self._positions(store, facts)
        self._progress.begin(positions, _ends(facts))
        self._progress.looked(_ends(facts), looked)
        self._progress.moved(positions)
        consumer = Consumer(
            dict(
                consumer_config(self._kafka, self._pipeline.group)
                | {
                    "auto.offset.reset": "error",
                    "queued.max.messages.kbytes": _AHEAD_KIB,
                    "fetch.wait.max.ms": FETCH_WAIT_MS,
                    "fetch.min.bytes": FETCH_BYTES,
                }
            ),
            logger=_silent,
        )
        try:
            assigned = [KafkaTopicPartition(t, p, position) for (t, p), position in positions.items()]
            consumer.assign(assigned)
            waiting = [one for one in assigned if one.topic in self._later]
            if waiting:
                consumer.pause(waiting)
            started()
            watch = _TopicWatch(admin, offsets, facts, self._progress)
            fresh = _FreshTopics(facts, self._progress)
            while not self._stopped():
                self._apply(store, self._gather(consumer))
                if waiting and not self._progress.open_looks - self._later:
                    consumer.resume(waiting)
                    waiting = []
                if watch.look():
                    fresh.confirmed()
                for topic, since in fresh.newly().items():
                    store.followed([topic], since)
        finally:
            consumer.close()

    def _positions(self, store: Store, facts: Mapping[str, TopicFacts]) -> dict[TopicPartition, int]:
        positions: dict[TopicPartition, int] = {}
        self._wait_for_ends(store, facts)
        for topic, fact in facts.items():
            known, stored = store.known_topic(topic), store.positions(topic)
            if reason := _why_rebuild(known, stored, fact):
                if known is not None:
                    log.warning("the read model is rebuilt", topic=topic, reason=reason)
                self._progress.build([topic], _ends({topic: fact}))
                store.reset(topic, fact.id, time.time())
                stored = {}
            elif self._progress.end_unknown(topic):
                self._progress.build([topic], _ends({topic: fact}))
            positions |= {(topic, p): stored.get(p, begin) for p, begin in fact.begin.items()}
        return positions

    def _without(self, store: Store, missing: set[str]) -> None:
        """Forget what was read of topics that do not exist (any more)."""
        for topic in missing:
            if store.known_topic(topic) is not None:
                store.reset(topic, "", 0.0)
        self._progress.absent(missing)

    def _wait_for_ends(self, store: Store, facts: Mapping[str, TopicFacts]) -> None:
        """Raise ``EndBehind`` while a topic ends below a stored position, for at most ``LOWER_END_SECONDS``."""
        behind = [
            topic
            for topic, fact in facts.items()
            if (known := store.known_topic(topic)) is not None
            and known[0] == fact.id
            and fact.ends_before(store.positions(topic))
        ]
        if not behind:
            self._behind_since = None
            return
        now = self._clock()
        self._behind_since = now if self._behind_since is None else self._behind_since
        if now - self._behind_since < LOWER_END_SECONDS:
            self._progress.ends_unknown()
            raise EndBehind(
                f"{' and '.join(behind)} ends before the records already read: a broker has just taken it over, or "
                "records are lost; the data is kept in the meantime"
            )

    def _gather(self, consumer: Consumer) -> ReadBatch:
        batch = ReadBatch(self._pipeline)
        first = consumer.poll(POLL_SECONDS)
        if first is None:
            return batch
        _take(batch, first)
        hurry = self._progress.has_waiters
        deadline = time.monotonic() + (GATHER_SECONDS_IN_A_HURRY if hurry else GATHER_SECONDS)
        while batch.records < BATCH_RECORDS and (left := deadline - time.monotonic()) > 0:
            for message in consumer.consume(PORTION_RECORDS, left):
                _take(batch, message)
        return batch

    def _apply(self, store: Store, batch: ReadBatch) -> None:
        if not batch.positions:
            return
        store.apply(batch)
        for skipped in batch.unreadable:
            self._unreadable(skipped.topic)
        if batch.unreadable:
            example = batch.unreadable[0]
            log.warning(
                "state records were skipped because they cannot be read",
                count=len(batch.unreadable),
                topic=example.topic,
                partition=example.partition,
                offset=example.offset,
                reason=example.reason,
            )
        self._progress.moved(batch.positions)


class _FreshTopics:
    """Until when each topic was followed, for the next run to judge whether its data is still of use."""

    def __init__(self, topics: Iterable[str], progress: Progress) -> None:
        self._progress = progress
        self._noted: dict[str, float | None] = dict.fromkeys(topics)

    def confirmed(self) -> None:
        """Note all topics again: they are still the same ones."""
        self._noted = dict.fromkeys(self._noted)

    def newly(self) -> dict[str, float]:
        """Topic -> Unix time, for every topic of which everything was applied for the first time since."""
        found: dict[str, float] = {}
        for topic, noted in self._noted.items():
            fresh = self._progress.fresh_as_of(topic)
            if noted is None and fresh is not None:
                found[topic] = time.time() - (time.monotonic() - fresh)
                self._noted[topic] = fresh
        return found


class _TopicWatch:
    """Asks for the topics' ends and, less often, for their IDs. It never blocks."""

    def __init__(
        self, admin: AdminClient, offsets: PartitionOffsets, facts: Mapping[str, TopicFacts], progress: Progress
    ) -> None:
        self._admin = admin
        self._offsets = offsets
        self._facts = facts
        self._progress = progress
        self._partitions = list(_ends(facts))
        self._look: Future[dict[TopicPartition, int]] | None = None
        self._looked = time.monotonic()
        self._names: dict[str, Future[Any]] = {}
        self._named = time.monotonic()

    def look(self) -> bool:
        """Send requests that are due and process answers. True if the topics were just confirmed to be the same."""
        now = time.monotonic()
        if self._look is None and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            reading = self._progress.open_looks  # a topic that is still being read is not looked at again
            if partitions := [one for one in self._partitions if one[0] not in reading]:
                self._look = in_background("ask where topics end", partial(self._offsets.ends, partitions))
        if self._look is not None and self._look.done():
            ends, self._look = self._look.result(), None
            self._progress.looked(ends, self._looked)
        if not self._names and now - self._named >= IDENTITY_SECONDS:
            self._named, self._names = now, identities(self._admin, self._facts)
        if self._names and all(future.done() for future in self._names.values()):
            seen = {name: future.result() for name, future in self._names.items()}
            self._names = {}
            for name, topic in seen.items():
                if str(topic.topic_id) != self._facts[name].id or len(topic.partitions) != len(self._facts[name].end):
                    raise SessionOver(f"topic {name} was replaced, or has more partitions")
            return True
        return False


def _take(batch: ReadBatch, message: Message) -> None:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    error = message.error()
    if error is None:
        assert topic is not None and partition is not None and offset is not None
        key, value = message.key(), message.value()
        batch.add(topic, partition, offset, _bytes(key), _bytes(value))
    elif error.code() == KafkaError._PARTITION_EOF:
        if topic is not None and partition is not None and offset is not None and offset >= 0:
            batch.reached(topic, partition, offset)
    elif error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise SessionOver("the topic no longer holds the position")
    else:
        raise KafkaException(error)


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def _ends(facts: Mapping[str, TopicFacts]) -> dict[TopicPartition, int]:
    return {(topic, partition): end for topic, fact in facts.items() for partition, end in fact.end.items()}


def _why_rebuild(known: tuple[str, float] | None, stored: Mapping[int, int], fact: TopicFacts) -> str | None:
    if known is None:
        return "nothing stored yet"
    topic_id, followed_at = known
    if topic_id != fact.id:
        return "the topic was deleted and created again"
    if not fact.continues(stored):
        return "the topic was truncated"
    if time.time() - followed_at > STALE_AFTER_SECONDS:
        return "it was not followed for so long that deletions may have been missed"
    return None
