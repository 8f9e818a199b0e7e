"""Kafka timestamps that cannot be right: the day of the first parking or settling counts, whatever comes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from app.delivery.record import EARLIEST_MS, SourceRecord
from app.engine import context, partition
from tests.unit.engine.test_partition import until
from tests.unit.engine.world import DAY, PIPELINE, Event, World

NOW = 1_780_000_000_000  # 2026-05-28
TODAY, TOMORROW = "2026-05-28", "2026-05-29"
DAY_MS = 24 * 3600 * 1000
MICROSECONDS, SECONDS = NOW * 1000, NOW // 1000
FAR = [MICROSECONDS, SECONDS, 0, -1, 2**63 - 1, EARLIEST_MS - 1, NOW + DAY_MS + 1]


def at(timestamp_ms: int) -> SourceRecord:
    return SourceRecord(PIPELINE.topic, 0, 0, timestamp_ms, b"a", b"a|ok")


@pytest.mark.parametrize("timestamp_ms", FAR)
def test_times_before_2000_and_more_than_a_day_ahead_cannot_be(timestamp_ms: int) -> None:
    assert not at(timestamp_ms).has_possible_time(NOW)


@pytest.mark.parametrize("timestamp_ms", [EARLIEST_MS, NOW, NOW + DAY_MS])
def test_all_others_can(timestamp_ms: int) -> None:
    assert at(timestamp_ms).has_possible_time(NOW)
    assert at(timestamp_ms).day == datetime.fromtimestamp(timestamp_ms / 1000, UTC).date().isoformat()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock of partitions; a test may move it."""
    now = [NOW]
    for module in (partition, context):
        monkeypatch.setattr(module, "now_ms", lambda: now[0])
    return now


def days(world: World) -> dict[str, int]:
    return {
        day: sum(sum(kinds["events"].values()) for kinds in markets.values())  # type: ignore[arg-type]
        for day, markets in world.counts().items()
        if markets
    }


@pytest.mark.parametrize("timestamp_ms", FAR)
async def test_what_is_settled_at_once_counts_today_and_is_told_once(clock: list[int], timestamp_ms: int) -> None:
    world = World([Event("a"), Event("b", "invalid"), Event("c", "refused"), Event("d")])
    world.timestamps = dict.fromkeys(range(3), timestamp_ms)
    with capture_logs() as lines:
        await world.start()
        assert await world.run()
    await world.stop()
    assert days(world) == {TODAY: 3, DAY: 1}
    assert [line["timestamp"] for line in lines if "timestamp" in line["event"]] == [timestamp_ms]
    for letter in world.topics[PIPELINE.dlq_topic]:
        assert dict(letter.headers)["x-sync-day"] == TODAY.encode()


@pytest.mark.parametrize("script", ["once", "never", "refused once"])
async def test_a_retry_on_another_day_by_another_owner_counts_on_the_day_it_was_parked(
    clock: list[int], script: str
) -> None:
    world = World([Event("a", "once"), Event("a", script), Event("b")])
    world.timestamps = {0: MICROSECONDS, 1: SECONDS}
    world.flow.retry_after = 3600.0
    await world.start()
    await until(lambda: len(world.state().parked) == 2)
    assert {entry.day for entry in world.state().parked.values()} == {TODAY}
    await world.die()
    clock[0] += DAY_MS
    world.flow.retry_after = None
    await world.start()
    assert await world.run()
    await world.stop()
    assert days(world) == {TODAY: 2, DAY: 1}
    for letter in world.topics.get(PIPELINE.dlq_topic, []):
        assert dict(letter.headers)["x-sync-day"] == TODAY.encode()


async def test_parked_events_with_a_good_timestamp_keep_no_day(clock: list[int]) -> None:
    world = World([Event("a", "once"), Event("a")])
    world.flow.retry_after = 3600.0
    await world.start()
    await until(lambda: len(world.state().parked) == 2)
    assert {entry.day for entry in world.state().parked.values()} == {""}
    assert all("x-sync-day" not in dict(copy.headers) for copy in world.topics[PIPELINE.retry_topic])
    await world.die()
