"""Tasks about consumers: in the consumer's place, beside no event of it, and once each."""

from __future__ import annotations

import asyncio

import pytest

from app.delivery.consumer_record import ConsumerState, consumer_key
from app.delivery.operator_task import Action, TaskKey, decode_end, parse_tasks_key
from app.engine.consumer_jobs import MENDED
from app.engine.context import now_ms
from app.profile.holdings.findings import Status
from tests.unit.engine.test_redrive import until
from tests.unit.engine.world import PIPELINE, Event, World


@pytest.fixture(autouse=True)
def looking_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.redrive.LOOK_SECONDS", 0.0)


def ends(world: World) -> list[dict[str, int]]:
    """What the ends of tasks say."""
    found = []
    for record in world.topics.get(PIPELINE.tasks_topic, []):
        key = parse_tasks_key(record.key or b"")
        if isinstance(key, TaskKey) and key.part == "end" and record.value is not None:
            found.append(dict(decode_end(record.value).done))
    return found


async def settled(*events: Event) -> World:
    world = World(list(events))
    await world.start()
    assert await world.run()
    return world


async def test_a_repair_runs_for_each_consumer_and_says_what_came_of_it() -> None:
    world = await settled(Event("a"), Event("b"))
    world.wish("t", Action.REPAIR, consumers={0: ("a", "b", "never seen"), 1: ("elsewhere",)})
    await until(world.tasks_are_over)
    assert sorted(world.flow.mended_consumers) == ["a", "b", "never seen"]
    assert ends(world) == [{"repaired": 2, "unknown": 1}]
    assert "a" not in world.partition.parked
    await world.stop()


async def test_events_of_the_consumer_wait_for_the_repair_and_others_do_not() -> None:
    world = await settled(Event("a"))
    world.flow.mend_gate = asyncio.Event()
    world.wish("t", Action.REPAIR, consumers={0: ("a",)})
    await until(lambda: world.flow.mended_consumers)
    world.publish(Event("a"), Event("b"))
    await until(lambda: world.order_of("b") == [2])
    assert world.order_of("a") == [0]
    world.flow.mend_gate.set()
    assert await world.run()
    assert world.order_of("a") == [0, 1]
    await until(world.tasks_are_over)
    await world.stop()


async def test_a_repair_waits_for_the_lane() -> None:
    world = await settled(Event("a"))
    world.flow.gate = asyncio.Event()
    world.publish(Event("a"))
    await until(lambda: world.flow.under_way["a"])
    world.wish("t", Action.REPAIR, consumers={0: ("a",)})
    for _ in range(200):
        await asyncio.sleep(0)
    assert world.flow.mended_consumers == []
    world.flow.gate.set()
    await until(world.tasks_are_over)
    assert world.flow.mended_consumers == ["a"]
    await world.stop()


async def test_a_consumer_with_parked_events_is_left_alone() -> None:
    world = await settled(Event("a"))
    world.flow.gate, world.flow.gated_from = asyncio.Event(), 2
    world.publish(Event("a", "once"))
    await until(lambda: world.state().parked)
    world.wish("t", Action.REPAIR, consumers={0: ("a",)})
    world.flow.gate.set()
    await until(world.tasks_are_over)
    assert ends(world)[0] in ({"pending": 1}, {"repaired": 1}), "it may have been settled before"
    assert await world.run()
    await world.stop()


async def test_a_bug_in_a_repair_is_counted_and_ends_nothing() -> None:
    world = await settled(Event("a"))

    async def broken(*_: object) -> str:
        raise RuntimeError("a bug")

    world.flow.mend = broken  # type: ignore[method-assign]
    world.wish("t", Action.REPAIR, consumers={0: ("a",)})
    await until(world.tasks_are_over)
    assert (ends(world), world.bugs) == ([{"error": 1}], [])
    world.publish(Event("a"))
    assert await world.run()
    await world.stop()


async def test_distrust_empties_the_list_of_rows_durably() -> None:
    world = await settled(Event("a"))
    assert await world.partition.journal.consumers.find("a") is not None
    world.wish("t", Action.DISTRUST, consumers={0: ("a",)})
    await until(world.tasks_are_over)
    found = await world.partition.journal.consumers.find("a")
    assert found is not None
    assert (found[1].rows, ends(world)) == ("", [{"distrusted": 1}])
    records = [record for record in world.topics[PIPELINE.consumers_topic] if record.value]
    assert len(records) == 2
    await world.stop()


def mended_ms(world: World, consumer: str) -> int | None:
    """What the newest record of a consumer says."""
    key = consumer_key(0, world.generation, consumer)
    newest = [record.value for record in world.topics[PIPELINE.consumers_topic] if record.key == key][-1]
    return ConsumerState.decode(newest or b"").mended_ms


async def test_a_repair_is_noted_in_the_consumers_record_until_the_next_event() -> None:
    world = await settled(Event("a", "partial"), Event("b", "partial"))
    before = now_ms()
    world.wish("t", Action.REPAIR, consumers={0: ("a", "nobody")})
    await until(world.tasks_are_over)
    assert ends(world) == [{"repaired": 1, "unknown": 1}]
    noted = mended_ms(world, "a")
    assert noted is not None and noted >= before
    assert mended_ms(world, "b") is None
    world.publish(Event("a", "partial"))
    assert await world.run()
    assert mended_ms(world, "a") is None
    await world.stop()


async def test_a_repair_that_mended_nothing_is_not_noted() -> None:
    world = await settled(Event("a", "partial"))

    async def differs(*_: object) -> str:
        return Status.DRIFTED.value

    world.flow.mend = differs  # type: ignore[method-assign]
    world.wish("t", Action.REPAIR, consumers={0: ("a",)})
    await until(world.tasks_are_over)
    assert mended_ms(world, "a") is None
    await world.stop()


def test_what_counts_as_mended_is_what_a_repair_may_say() -> None:
    assert {Status.OK.value, Status.REPAIRED.value} == MENDED


async def test_a_crash_in_a_repair_begins_it_again() -> None:
    world = await settled(Event("a"))
    world.flow.mend_gate = asyncio.Event()
    world.wish("t", Action.REPAIR, consumers={0: ("a",)})
    await until(lambda: world.flow.mended_consumers)
    await world.die()
    world.flow.mend_gate = None
    await world.start()
    await until(world.tasks_are_over)
    assert world.flow.mended_consumers == ["a", "a"]
    await world.stop()
