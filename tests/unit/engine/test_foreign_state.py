"""Others may write into the state topic: what is none of ours stops nobody, what should be ours is not guessed at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.delivery.partition_record import PartitionState
from app.delivery.record_format import partition_key
from app.engine.context import EngineStopped
from app.engine.ownership import Ownership
from tests.unit.engine.test_ownership import ASSIGNED, ends_at
from tests.unit.engine.test_ownership import world as world
from tests.unit.engine.world import PIPELINE, World

GOOD = PartitionState(upto=7).encode()
NEVER_OURS = [
    b"hello",
    b"",
    b"\xff",
    b"0|+9",
    b"0|0_9",
    b"0|9223372036854775807",
    b"0|9007199254740992",
    b"0|1|C-1",
    None,
]


@dataclass
class Message:
    key: Any
    partition: int
    offset: int


@dataclass
class Event:
    message: Message


def owner(world: World, table: dict[Any, bytes], place: int = 0) -> Ownership:
    """One that has read these records of the topic, at offsets from 100 on."""
    ownership = Ownership(world.context, table, drain_seconds=0.2)
    ownership.records.note(Event(Message(key, place, 100 + at)) for at, key in enumerate(table))
    return ownership


async def take_over(ownership: Ownership) -> None:
    await ownership.take_over(4, ASSIGNED, lambda: True, ends_at(10))


@pytest.mark.parametrize("key", NEVER_OURS)
async def test_a_record_whose_key_is_none_of_ours_is_told_and_stops_nobody(world: World, key: Any) -> None:
    ownership = owner(world, {key: GOOD, partition_key(0, 3): GOOD})
    with capture_logs() as logged:
        await take_over(ownership)
    assert ownership.ready
    assert [write.key for write in world.producer.of(PIPELINE.state_topic)] == [
        partition_key(0, 4),
        partition_key(0, 3),
    ]
    told = [line for line in logged if "no key of ours" in line["event"]]
    assert [(line["topic"], line["partition"], line["offset"]) for line in told] == [(PIPELINE.state_topic, 0, 100)]


async def test_a_record_in_the_wrong_partition_of_the_topic_does_not_count(world: World) -> None:
    ownership = owner(world, {partition_key(0, 50): PartitionState(upto=9).encode()}, place=5)
    await take_over(ownership)
    assert world.producer.of(PIPELINE.state_topic)[0].key == partition_key(0, 4)


@pytest.mark.parametrize(
    ("epoch", "value"),
    [
        (50, b"world"),
        (50, b"{}"),
        (50, PartitionState(upto=7).encode().replace(b'"done":[]', b'"done":["x"]')),
        (50, PartitionState(upto=7).encode().replace(b'"deadLetters":{}', b'"deadLetters":{"x":"y"}')),
        (2**53 - 1, GOOD),
    ],
)
async def test_a_record_of_ours_that_cannot_be_used_is_refused_with_the_way_out(
    world: World, epoch: int, value: bytes
) -> None:
    ownership = owner(world, {partition_key(0, 3): GOOD, partition_key(0, epoch): value})
    with pytest.raises(EngineStopped) as refused:
        await take_over(ownership)
    said = str(refused.value)
    for needed in (PIPELINE.state_topic, f"key 0|{epoch}, offset 101", f"printf '0|{epoch}='", "-p 0", "KAFKA_GROUP"):
        assert needed in said
    assert world.producer.of(PIPELINE.state_topic) == []


async def test_an_outdated_record_that_cannot_be_read_goes_with_the_others(world: World) -> None:
    ownership = owner(world, {partition_key(0, 2): b"world", partition_key(0, 3): GOOD})
    await take_over(ownership)
    assert ownership.ready
    assert {w.key for w in world.producer.of(PIPELINE.state_topic)[1:]} == {partition_key(0, 2), partition_key(0, 3)}
