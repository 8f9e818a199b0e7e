"""The records of a dry run are not those of a group that works in earnest."""

from __future__ import annotations

import pytest

from app.delivery.dry_run import refusal
from app.delivery.partition_record import PartitionState
from app.engine.context import EngineStopped
from tests.unit.engine.test_partition import until
from tests.unit.engine.world import PIPELINE, Event, World


async def after_a_run(*, dry_run: bool, events: int = 2) -> World:
    world = World([Event("a")] * events)
    world.dry_run = dry_run
    await world.start()
    if events:
        assert await world.run()
    else:
        await until(lambda: world.ownership.partitions)
    await world.stop()
    assert world.state().dry_run is dry_run
    return world


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_worker_of_the_other_kind_refuses_the_group_and_says_what_to_do(dry_run: bool) -> None:
    world = await after_a_run(dry_run=dry_run)
    written = len(world.topics[PIPELINE.state_topic])
    world.dry_run = not dry_run
    await world.start()
    with pytest.raises(EngineStopped, match=r"KAFKA_GROUP.*SYNC_DRY_RUN"):
        await world.tasks[0]
    assert len(world.topics[PIPELINE.state_topic]) == written, "nothing was claimed"
    await world.stop()


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_worker_of_the_same_kind_goes_on(dry_run: bool) -> None:
    world = await after_a_run(dry_run=dry_run)
    world.topics[PIPELINE.topic].append(world.topics[PIPELINE.topic][0])
    world.events.append(world.events[0])
    await world.start()
    assert await world.run()
    await world.stop()


async def test_a_group_without_any_work_may_become_either() -> None:
    world = await after_a_run(dry_run=True, events=0)
    world.dry_run = False
    await world.start()
    await until(lambda: world.ownership.partitions)
    assert world.state().dry_run is False
    await world.stop()


@pytest.mark.parametrize("dry_run", [True, False])
def test_records_of_older_programs_do_not_say_and_are_believed(dry_run: bool) -> None:
    assert refusal(PartitionState(decided_above={1}, dry_run=None), dry_run=dry_run, group="g") is None
