"""Sequence numbers after a refusal: given back exactly when the batch was certainly not written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import errors
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.structs import TopicPartition

from app.kafka.produce_answers import _Handler

TP = TopicPartition("t", 0)


class Batch:
    tp, record_count = TP, 3

    def __init__(self) -> None:
        self.failed: list[BaseException] = []

    def failure(self, exception: BaseException) -> None:
        self.failed.append(exception)


def sender(sequence: int) -> Any:
    manager = TransactionManager(None, 0)
    manager._sequence_numbers[TP] = sequence
    return SimpleNamespace(client=None, _txn_manager=manager, _retry_backoff=0.1)


def answered(made: Any, batch: Batch, *codes: int) -> _Handler:
    """One answer after another to the same batch, as it is tried again."""
    for code in codes:
        handler = _Handler(made, {TP: batch}, SimpleNamespace(tried_on={}))  # type: ignore[arg-type]
        handler._client = SimpleNamespace(force_metadata_update=lambda: None)
        topics = [("t", [(0, code, -1, -1, 0, [], None)])]
        handler.handle_response(SimpleNamespace(topics=topics, API_VERSION=8))
    return handler


@pytest.mark.parametrize(
    ("codes", "left"),
    [
        ((29,), 10),  # TopicAuthorizationFailed
        ((87,), 10),  # InvalidRecord
        ((10,), 10),  # MessageTooLarge
        ((19, 3, 29), 10),  # not enough replicas, unknown topic, and then refused: never written
        ((7, 29), 13),  # timed out: maybe written
        ((20, 29), 13),  # written, but by too few
        ((-1,), 13),  # whatever that was
    ],
)
async def test_numbers_are_given_back_when_nothing_was_written(codes: tuple[int, ...], left: int) -> None:
    made, batch = sender(13), Batch()
    answered(made, batch, *codes)
    assert made._txn_manager.sequence_number(TP) == left
    assert batch.failed


async def test_numbers_wrap_backwards_too() -> None:
    made = sender(-(2**31) + 1)
    answered(made, Batch(), 29)
    assert made._txn_manager.sequence_number(TP) == 2**31 - 2


async def test_a_record_that_the_broker_refuses_is_told_from_an_unknown_error() -> None:
    batch = Batch()
    answered(sender(13), batch, 87)
    assert type(batch.failed[0]).__name__ == "RecordRefused"


async def test_what_is_tried_on_is_noted_by_topic() -> None:
    handler = answered(sender(13), Batch(), 19)
    assert isinstance(handler._answers.tried_on["t"], errors.NotEnoughReplicasError)
