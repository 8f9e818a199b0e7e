"""Taking over: each step proves the one before. Letting go: nothing is left that could still do something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import pytest

from app.delivery.parked_events import ParkedEvent
from app.delivery.partition_record import PartitionState
from app.delivery.record import SourceRecord, TopicPartition
from app.delivery.record_format import partition_key
from app.engine.context import EngineStopped
from app.engine.holds import FETCH_AHEAD
from app.engine.ownership import Ownership
from app.engine.parked import ParkedConsumer
from tests.unit.engine.world import PIPELINE, Event, World

MAIN, RETRY, ALERTS = (PIPELINE.topic, 0), (PIPELINE.retry_topic, 0), (PIPELINE.alerts_topic, 0)
OWNED = [MAIN, RETRY, ALERTS]
ASSIGNED = [*OWNED, (PIPELINE.state_topic, 0)]


async def no_ends(tps: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
    return dict.fromkeys(tps, 0)


def ends_at(offset: int) -> Callable[[Iterable[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]:
    async def ends(tps: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(tps, offset)

    return ends


@pytest.fixture
async def world() -> World:
    """An owner's parts, before any take-over."""
    made = World([Event("a")])
    await made.start()
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    made.ownership = Ownership(made.context, made._table(), drain_seconds=0.2)
    return made


async def test_nothing_is_fetched_before_the_take_over_and_everything_owned_after_it(world: World) -> None:
    ownership = world.ownership
    assert ownership.fetchable(OWNED) == set()
    assert not ownership.ready
    await ownership.take_over(3, ASSIGNED, lambda: True, no_ends)
    assert ownership.fetchable([*OWNED, ("foreign", 0), (PIPELINE.topic, 1)]) == set(OWNED)
    assert ownership.ready
    ownership.shut()
    assert ownership.fetchable(OWNED) == set()
    assert not ownership.ready


async def test_partitions_that_are_assigned_anew_in_one_generation_are_taken_over_anew(world: World) -> None:
    ownership = world.ownership
    await ownership.take_over(3, ASSIGNED, lambda: True, no_ends)
    epoch = world.producer.written[0].key
    ownership.shut()
    assert not ownership.ready
    await ownership.take_over(3, ASSIGNED, lambda: True, no_ends)
    assert ownership.ready
    claims = [record.key for record in world.producer.written if record.value is not None]
    assert len(claims) == 2
    assert claims[1] != epoch, "a second claim needs a higher epoch"


async def test_the_claim_waits_for_a_heartbeat_and_then_for_the_follower(world: World) -> None:
    steps: list[str] = []
    beat, read = asyncio.Event(), asyncio.Event()
    world.lease.renewed_since = lambda generation, moment: beat.is_set()  # type: ignore[method-assign]

    async def catch_up(partition: int, end: int) -> None:
        steps.append(f"follower up to {end}")
        await read.wait()

    async def ends(tps: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        steps.append("ends")
        return dict.fromkeys(tps, 17)

    world.context.states.catch_up = catch_up  # type: ignore[method-assign]
    taking = asyncio.create_task(world.ownership.take_over(1, ASSIGNED, lambda: True, ends))
    await asyncio.sleep(0.05)
    assert steps == []
    beat.set()
    await asyncio.sleep(0.05)
    assert steps == ["ends", "follower up to 17"]
    assert world.producer.of(PIPELINE.state_topic) == []
    read.set()
    await taking
    assert [record.key for record in world.producer.of(PIPELINE.state_topic)] == [partition_key(0, 1)]


async def test_the_gate_opens_only_once_the_claim_is_acknowledged(world: World) -> None:
    world.producer.hold()
    taking = asyncio.create_task(world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends))
    await asyncio.sleep(0.02)
    assert world.ownership.gate == frozenset()
    world.producer.release()
    await taking
    assert world.ownership.gate == frozenset(OWNED)


async def test_one_claim_for_each_generation(world: World) -> None:
    await world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends)
    first = world.ownership.partitions[0]
    await world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends)
    assert world.ownership.partitions[0] is first
    assert len(world.producer.of(PIPELINE.state_topic)) == 1


@pytest.mark.parametrize("over_after", [0, 1])
async def test_a_generation_that_is_over_opens_nothing(world: World, over_after: int) -> None:
    asked = iter([True] * over_after)
    await world.ownership.take_over(1, ASSIGNED, lambda: next(asked, False), no_ends)
    assert world.ownership.partitions == {}
    assert world.ownership.gate == frozenset()


async def test_a_rebalance_in_the_middle_of_a_take_over_keeps_the_gate_shut(world: World) -> None:
    world.producer.hold()
    taking = asyncio.create_task(world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends))
    await asyncio.sleep(0.02)
    world.ownership.shut()
    world.producer.release()
    await taking
    assert world.ownership.gate == frozenset()
    assert world.ownership.partitions == {}


@pytest.mark.parametrize(
    ("epochs", "generation", "claimed"),
    [([], 4, 4), ([2, 3], 4, 4), ([2, 9], 4, 10)],
    ids=["fresh", "generations go on", "generations began anew"],
)
async def test_the_claim_outranks_every_record_there_is_and_goes_on_from_the_highest(
    world: World, epochs: list[int], generation: int, claimed: int
) -> None:
    table = {partition_key(0, epoch): PartitionState(upto=epoch).encode() for epoch in epochs}
    table[partition_key(1, 99)] = PartitionState(upto=99).encode()
    ownership = Ownership(world.context, table, drain_seconds=0.2)
    await ownership.take_over(generation, ASSIGNED, lambda: True, ends_at(10))
    written = world.producer.of(PIPELINE.state_topic)
    assert written[0].key == partition_key(0, claimed)
    assert PartitionState.decode(written[0].value or b"").upto == max(epochs, default=-1)
    # The records of earlier owners are removed, others are left alone.
    assert {record.key for record in written[1:]} == {partition_key(0, epoch) for epoch in epochs}
    assert all(record.value is None for record in written[1:])
    assert set(table) == {partition_key(0, claimed), partition_key(1, 99)}


@pytest.mark.parametrize(
    "assigned",
    [
        [MAIN, (PIPELINE.retry_topic, 1), (PIPELINE.state_topic, 0)],
        [MAIN, (PIPELINE.retry_topic, 0)],
        [(PIPELINE.retry_topic, 0), (PIPELINE.state_topic, 0)],
    ],
    ids=["other partitions of retry", "no state", "no main topic"],
)
async def test_partitions_that_do_not_belong_together_are_a_mistake_that_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, assigned: list[TopicPartition]
) -> None:
    monkeypatch.setattr("app.engine.take_over.DIVIDED_AGAIN_SECONDS", 0.05)
    with pytest.raises(EngineStopped, match="topics check"):
        await world.ownership.take_over(1, assigned, lambda: True, no_ends)
    assert world.ownership.partitions == {}


async def test_partitions_that_are_divided_again_soon_are_waited_for(world: World) -> None:
    asked = iter((True, True, True))
    # Claimed without its state, a partition would begin anew.
    await world.ownership.take_over(1, [MAIN, (PIPELINE.retry_topic, 0)], lambda: next(asked, False), no_ends)
    assert not world.ownership.ready


async def test_a_topic_that_ends_before_what_is_settled_is_another_topic_and_nothing_is_skipped(world: World) -> None:
    table = {partition_key(0, 3): PartitionState(upto=7).encode()}
    ownership = Ownership(world.context, table, drain_seconds=0.2)
    with pytest.raises(EngineStopped, match=r"ends at offset 7, but everything up to 7 counts .*new KAFKA_GROUP"):
        await ownership.take_over(4, ASSIGNED, lambda: True, ends_at(7))
    assert ownership.gate == frozenset()
    assert world.producer.written == []


async def test_parked_events_are_read_back_only_while_memory_lasts_unless_that_would_stop_the_work(
    world: World,
) -> None:
    await world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends)
    partition, most = world.ownership.partitions[0], world.context.sync.max_parked
    partition.journal.state.parked = {offset: ParkedEvent("c") for offset in range(most + 1)}
    partition.journal.state.upto = most
    partition.tasks.draining = True  # nobody works on them
    partition.start()
    for offset in range(1, most + 1):
        partition.copies.read_back(SourceRecord(PIPELINE.topic, 0, offset, 0, b"c", b""), offset)
    assert RETRY in world.ownership.fetchable(OWNED), "the next event of the only consumer is still to be read"
    partition.parked._by_id["c"] = ParkedConsumer(range(1, most + 1))
    assert RETRY not in world.ownership.fetchable(OWNED)


async def test_a_worker_without_partitions_is_ready(world: World) -> None:
    await world.ownership.take_over(1, [], lambda: True, no_ends)
    assert world.ownership.ready


async def test_messages_of_another_generation_or_partition_find_no_owner(world: World) -> None:
    await world.ownership.take_over(2, ASSIGNED, lambda: True, no_ends)
    partition = world.ownership.partitions[0]
    assert world.ownership.current(0, 2) is partition
    assert world.ownership.current(0, 1) is None
    assert world.ownership.current(1, 2) is None
    partition.stop_taking()
    assert world.ownership.current(0, 2) is None


async def test_a_topic_whose_records_wait_unclaimed_is_not_fetched_further(world: World) -> None:
    await world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends)
    world.ledger.fetched(MAIN, range(FETCH_AHEAD + 1))
    assert world.ownership.fetchable(OWNED) == {RETRY, ALERTS}
    world.ledger.claim(MAIN, 0)
    assert world.ownership.fetchable(OWNED) == set(OWNED)


async def test_too_many_parked_events_stop_the_main_topic_but_not_the_way_out(world: World) -> None:
    await world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends)
    world.context.room.parked = world.context.sync.max_parked
    assert world.ownership.fetchable(OWNED) == {RETRY, ALERTS}


async def test_a_drain_gives_work_its_time_and_then_cuts_it_off(world: World) -> None:
    await world.ownership.take_over(1, ASSIGNED, lambda: True, no_ends)
    partition = world.ownership.partitions[0]
    quick, slow = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def work(name: str, until: asyncio.Event) -> None:
        await until.wait()
        ended.append(name)

    partition.tasks.spawn(work("quick", quick))
    partition.tasks.spawn(work("slow", slow))
    draining = asyncio.create_task(world.ownership.drain())
    await asyncio.sleep(0.01)
    assert world.ownership.gate == frozenset()
    assert not partition.tasks.dead, "what is under way may still end"
    another = asyncio.create_task(world.ownership.drain())
    await asyncio.sleep(0.01)
    assert not another.done(), "whoever drains as well, for a stop, waits for the same work"
    quick.set()
    await draining
    await another
    assert ended == ["quick"]
    assert partition.tasks.dead
    assert partition.tasks.running == set()
    assert world.context.room.parked == 0
