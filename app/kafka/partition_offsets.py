"""Where partitions begin and end.

The question is ``Consumer.offsets_for_times`` with the two timestamps that have a meaning of their own. Not
``AdminClient.list_offsets``: in librdkafka 2.16 that call can use memory that it has freed, when its answer comes as it
times out. ``offsets_for_times`` handles its answers in the thread that asks, and drops late ones.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from app.delivery.record import TopicPartition
from app.kafka.clients import consumer_config
from app.settings import KafkaSettings

# Timestamps of the protocol (ListOffsets): the first offset that is still there, and the next one to be written.
_BEGIN, _END = -2, -1

_silent = logging.getLogger(__name__)
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class PartitionOffsets:
    """Asks the brokers. Joins no group. May be used from any thread; one question is in progress at a time.

    Args:
        group: one that access rules let us ask about; the client needs a name, and joins no group.
        timeout_seconds: how long an answer may take.
        complaint: called with what the connections complain about.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        timeout_seconds: float,
        complaint: Callable[[KafkaError], Any] = lambda _: None,
    ) -> None:
        self._timeout = timeout_seconds
        self._config = consumer_config(settings, group) | {
            # The end of the log, whatever transactions are open.
            "isolation.level": "read_uncommitted",
            "error_cb": complaint,
        }
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None  # made for the first question
        self._closed = False

    def begins(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that is still there, of each partition.

        Raises:
            KafkaException: no answer in time for one of them, or a refusal.
        """
        return self._ask(tps, _BEGIN)

    def ends(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset that the next record will have, of each partition.

        Raises:
            KafkaException: no answer in time for one of them, or a refusal.
        """
        return self._ask(tps, _END)

    def close(self) -> None:
        """End the connections. Waits for the question in progress."""
        with self._lock:
            self._closed = True
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _ask(self, tps: Collection[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        if not tps:
            return {}
        asked = [KafkaTopicPartition(topic, number, timestamp) for topic, number in tps]
        with self._lock:
            if self._closed:
                raise KafkaException(KafkaError(KafkaError._STATE, "the client was closed"))
            if self._consumer is None:
                self._consumer = Consumer(dict(self._config), logger=_silent)
            answers = self._consumer.offsets_for_times(asked, timeout=self._timeout)
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return {(answer.topic, answer.partition): answer.offset for answer in answers}
