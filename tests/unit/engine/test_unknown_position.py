"""A partition whose position is being asked for, because the topic is gone or its offsets are others, ends nobody."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.structs import TopicPartition
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import Consumer as AiokafkaConsumer
from faust.types import TP

from app.engine.consumer import LedgerConsumer
from app.engine.consumer_thread import LedgerConsumerThread

MAIN = TP("main", 0)


class Consumer(LedgerConsumer):
    """A consumer that has fetched before, and whose position is not known at the moment."""

    should_stop = False

    def __init__(self) -> None:
        position = TopicPartition(MAIN.topic, MAIN.partition)
        assignment = Assignment({position})
        state = assignment.state_value(position)
        state.reset_to(7)
        state.timestamp = int(time.monotonic() * 1000)
        state.await_reset(OffsetResetStrategy.EARLIEST)
        subscriptions = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self.app = SimpleNamespace(monitor=object(), topics=SimpleNamespace(acks_enabled_for=lambda topic: True))
        thread = LedgerConsumerThread.__new__(LedgerConsumerThread)
        thread._consumer = SimpleNamespace(_fetcher=SimpleNamespace(_subscriptions=subscriptions))
        thread.consumer = self
        thread.time_started, thread.tp_fetch_request_timeout_secs = time.monotonic(), 3600.0
        self._thread = thread

    def assignment(self) -> set[TP]:
        return {MAIN}

    async def sleep(self, n: Any, *, loop: Any = None) -> None:
        return None


async def test_fausts_look_for_a_standstill_asks_for_no_position() -> None:
    consumer = Consumer()
    with pytest.raises(AssertionError):  # what Faust's own does
        await FaustConsumer.verify_all_partitions_active(
            SimpleNamespace(
                assignment=consumer.assignment,
                sleep=consumer.sleep,
                should_stop=False,
                verify_event_path=lambda now, tp: AiokafkaConsumer.verify_event_path(consumer, now, tp),
            )
        )
    await consumer.verify_all_partitions_active()
