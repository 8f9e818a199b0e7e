"""Follows ``<group>.status``: what workers say of themselves, and the incidents that are remembered.

The topic is small (one partition, compacted) and lives in memory: key -> value, the newest of each.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from app.kafka.admin import KafkaAccessError
from app.kafka.clients import consumer_config
from app.settings import KafkaSettings

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
# A topic that anybody may write into must not fill our memory.
MOST_KEYS = 10_000
LARGEST_RECORD_BYTES = 1_000_000
# Between two lines about the same trouble.
QUIET_SECONDS = 60.0

_silent = logging.getLogger(f"{__name__}.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class StatusFollower:
    """Reads the topic in a thread of its own and answers from any thread."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._lock = threading.Lock()
        self._records: dict[str, bytes] = {}
        self._thread: threading.Thread | None = None
        self._said = float("-inf")

    @property
    def caught_up(self) -> bool:
        """Whether the end of the topic was reached once."""
        return self._caught_up.is_set()

    def records(self) -> Mapping[str, bytes]:
        """The newest value of every key."""
        with self._lock:
            return dict(self._records)

    def put(self, key: str, value: bytes | None) -> None:
        """Take over what we have just written ourselves, before it is read back."""
        with self._lock:
            if value is None:
                self._records.pop(key, None)
            elif key in self._records or len(self._records) < MOST_KEYS:
                self._records[key] = value

    def start(self) -> None:
        """Begin to follow."""
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            with _consumer(self._kafka) as consumer:
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
                log.warning("the status topic cannot be read now", topic=self._kafka.status_topic, reason=error.str())
            return
        key, value = message.key(), message.value()
        if key is not None and (value is None or len(value) <= LARGEST_RECORD_BYTES):
            self.put(key.decode("utf-8", "replace"), value)


def read_status_once(kafka: KafkaSettings, seconds: float) -> Mapping[str, bytes]:
    """The newest value of every key, for a command.

    Raises:
        KafkaAccessError: the topic could not be read in time.
    """
    follower = StatusFollower(kafka)
    deadline = time.monotonic() + seconds
    with _consumer(kafka) as consumer:
        while not follower.caught_up:
            if time.monotonic() > deadline:
                raise KafkaAccessError(
                    f"{kafka.status_topic} could not be read within {seconds:g} s. Does it exist? A worker makes it, "
                    "or profile-sync topics create; profile-sync topics check says what is wrong with it."
                )
            follower._take(consumer, POLL_SECONDS)
    return follower.records()


class _consumer:  # noqa: N801 - a context manager
    def __init__(self, kafka: KafkaSettings) -> None:
        own = {"enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}
        self._consumer = Consumer(dict(consumer_config(kafka, kafka.group) | own), logger=_silent)
        self._consumer.assign([TopicPartition(kafka.status_topic, 0, OFFSET_BEGINNING)])

    def __enter__(self) -> Consumer:
        return self._consumer

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
