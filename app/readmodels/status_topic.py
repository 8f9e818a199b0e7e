"""Follows ``<group>.status``: the state of each worker, and the remembered incidents.

The topic is small (one partition, compacted), so its newest values are kept in memory. Others may write into it too.
Therefore only records that this program could have written are kept, at most ``MOST_BYTES`` of them. Above that, the
records that were updated longest ago are dropped. A live worker writes every few seconds, so its record stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from app.delivery.pipeline import Pipeline
from app.kafka.admin import KafkaAccessError
from app.kafka.clients import consumer_config
from app.settings import KafkaSettings

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
# The most that is kept: all keys and values together, and a single key.
MOST_BYTES = 16_000_000
LONGEST_KEY_BYTES = 300
# The memory that Python needs for an entry besides its bytes.
ENTRY_BYTES = 250
# What the client fetches ahead. It is small, so that oversized foreign records do not fill the memory.
_AHEAD_KIB, _FETCH_BYTES = 2_048, 1_000_000
# Between two log lines about the same trouble.
QUIET_SECONDS = 60.0

_silent = logging.getLogger(f"{__name__}.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


# Whether this program could have written a record, given its key and value.
IsOurs = Callable[[str, bytes], bool]


class StatusFollower:
    """Reads the topic in a thread of its own and answers from any thread."""

    def __init__(self, kafka: KafkaSettings, pipeline: Pipeline, is_ours: IsOurs) -> None:
        self._kafka = kafka
        self._pipeline = pipeline
        self._is_ours = is_ours
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._lock = threading.Lock()
        self._records: dict[str, bytes] = {}  # the one that was updated longest ago comes first
        self._own: set[str] = set()
        self._bytes = 0
        self._told_full = False
        self._thread: threading.Thread | None = None
        self._said = float("-inf")

    @property
    def caught_up(self) -> bool:
        """Whether the end of the topic has been reached once."""
        return self._caught_up.is_set()

    def records(self) -> Mapping[str, bytes]:
        """The newest value of every key."""
        with self._lock:
            return dict(self._records)

    def put(self, key: str, value: bytes | None) -> None:
        """Apply a record that this worker has written, before it is read back. It is never dropped for space."""
        with self._lock:
            if value is None:
                self._own.discard(key)
            else:
                self._own.add(key)
            self._keep(key, value)

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Apply a record of the topic."""
        if key is None or len(key) > LONGEST_KEY_BYTES:
            return
        name = key.decode("utf-8", "replace")
        if value is None or self._is_ours(name, value):
            with self._lock:
                self._keep(name, value)

    def _keep(self, key: str, value: bytes | None) -> None:
        if (before := self._records.pop(key, None)) is not None:
            self._bytes -= _size(key, before)
        if value is None:
            return
        self._records[key] = value
        self._bytes += _size(key, value)
        if self._bytes > MOST_BYTES:
            self._make_room()

    def _make_room(self) -> None:
        if not self._told_full:
            self._told_full = True
            log.warning(
                "the status topic holds too many records; those that were updated longest ago are dropped",
                topic=self._pipeline.status_topic,
                records=len(self._records),
            )
        for key in [key for key in self._records if key not in self._own]:
            if self._bytes <= MOST_BYTES * 3 // 4:  # free a quarter at once, so that this happens rarely
                break
            self._bytes -= _size(key, self._records.pop(key))

    def start(self) -> None:
        """Start following."""
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            with _consumer(self._kafka, self._pipeline) as consumer:
                while not self._stop.is_set():
                    self._take(consumer, POLL_SECONDS)
        except KafkaException as error:
            log.error("the status topic cannot be followed", reason=str(error))

    def _take(self, consumer: Consumer, seconds: float) -> None:
        message = consumer.poll(seconds)
        if message is None:
            return
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._caught_up.set()
            elif time.monotonic() - self._said >= QUIET_SECONDS:
                self._said = time.monotonic()
                log.warning(
                    "the status topic cannot be read at present", topic=self._pipeline.status_topic, reason=error.str()
                )
            return
        self.take(_bytes(message.key()), _bytes(message.value()))


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def read_status_once(kafka: KafkaSettings, pipeline: Pipeline, is_ours: IsOurs, seconds: float) -> Mapping[str, bytes]:
    """The newest value of every key, read once for a command.

    Raises:
        KafkaAccessError: the topic could not be read in time.
    """
    follower = StatusFollower(kafka, pipeline, is_ours)
    deadline = time.monotonic() + seconds
    with _consumer(kafka, pipeline) as consumer:
        while not follower.caught_up:
            if time.monotonic() > deadline:
                raise KafkaAccessError(
                    f"{pipeline.status_topic} could not be read within {seconds:g} s. If it does not exist, start a "
                    "worker or run profile-sync topics create. profile-sync topics check lists other problems."
                )
            follower._take(consumer, POLL_SECONDS)
    return follower.records()


class _consumer:  # noqa: N801 - a context manager
    def __init__(self, kafka: KafkaSettings, pipeline: Pipeline) -> None:
        own: dict[str, object] = {
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
        }
        own |= {"queued.max.messages.kbytes": _AHEAD_KIB, "max.partition.fetch.bytes": _FETCH_BYTES}
        self._consumer = Consumer(dict(consumer_config(kafka, pipeline.group) | own), logger=_silent)
        self._consumer.assign([KafkaTopicPartition(pipeline.status_topic, 0, OFFSET_BEGINNING)])

    def __enter__(self) -> Consumer:
        return self._consumer

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
