"""What brokers answer to our writes, where aiokafka does not tell its caller.

Written against aiokafka 0.14.0, pinned; what is overridden here is internal to it. Why:

* A refused batch has used up its sequence numbers, so the broker would refuse every later batch of that partition
  (OutOfOrderSequenceNumber). A batch that was certainly not written gives its numbers back. No later batch has numbers
  yet, because aiokafka sends one batch of a partition at a time.
* After some answers aiokafka repeats a write forever without a word. These answers are noted.
* In aiokafka, a batch whose partition has no leader for a while fails in spite of idempotence, and leaves a gap in the
  sequence numbers. Here it waits.
"""

from __future__ import annotations

import math
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.sender import SendProduceReqHandler
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from app.kafka.refusals import NOT_WRITTEN, RecordRefused

_WRAPS_AT = 2**32
_LOWEST = -(2**31)


class Answers:
    """The answers to one producer. ``tried_on``: topic -> the error after which its last write is being repeated."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.tried_on: dict[str, KafkaError] = {}
        sender = producer._sender
        producer._message_accumulator._batch_ttl = math.inf

        async def send_produce_req(node_id: int, batches: dict[KafkaTopicPartition, Any]) -> None:
            await _Handler(sender, batches, self).do(node_id)
            sender._in_flight.remove(node_id)
            for tp in batches:
                sender._muted_partitions.remove(tp)

        sender._send_produce_req = send_produce_req


class _Handler(SendProduceReqHandler):  # type: ignore[misc]
    def __init__(self, sender: Any, batches: dict[KafkaTopicPartition, Any], answers: Answers) -> None:
        super().__init__(sender, batches)
        self._answers = answers
        self._refused: set[KafkaTopicPartition] = set()

    def handle_response(self, response: Any) -> None:
        for topic, partitions in response.topics:
            for partition, code, *_ in partitions:
                if code == RecordRefused.errno:
                    self._refused.add(KafkaTopicPartition(topic, partition))
                elif code == 0 and self._answers.tried_on:
                    self._answers.tried_on.pop(topic, None)
        super().handle_response(response)

    def _can_retry(self, error: KafkaError, batch: Any) -> bool:
        if batch.tp in self._refused:
            error = RecordRefused()
            batch.failure(exception=error)
        may: bool = super()._can_retry(error, batch)
        if may:
            self._answers.tried_on[batch.tp.topic] = error
            if not isinstance(error, NOT_WRITTEN):
                batch.maybe_written = True
        elif isinstance(error, NOT_WRITTEN) and not getattr(batch, "maybe_written", False):
            self._give_back(batch)
        return may

    def _give_back(self, batch: Any) -> None:
        numbers = self._sender._txn_manager._sequence_numbers
        number = numbers[batch.tp] - batch.record_count
        numbers[batch.tp] = number + _WRAPS_AT if number < _LOWEST else number
