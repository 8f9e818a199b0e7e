"""The Faust app is what we say it is, whatever else stands in the environment."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from app.engine import topic_comparison
from app.engine.arrivals import TAKEN_AT_A_TIME, handle_arrivals
from app.engine.stream import Stream
from tests.unit.engine.world import World


async def test_faust_takes_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "WEB_PORT": "0",
        "BROKER_URL": "kafka://elsewhere:9092",
        "PROCESSING_GUARANTEE": "exactly_once",
        "BROKER_COMMIT_INTERVAL": "3600",
        "TOPIC_PARTITIONS": "77",
    }.items():
        monkeypatch.setenv(name, value)
    world = World([])
    await world.start()
    await world.stop()
    made = Stream(
        world.context,
        connection={"broker": "kafka://127.0.0.1:9", "broker_credentials": None},
        heartbeat_seconds=1.0,
        drain_seconds=5.0,
        on_alert=_ignore,
        data_dir=tmp_path,
    )
    conf = made.app.conf
    assert [str(url) for url in conf.broker] == ["kafka://127.0.0.1:9"]
    assert conf.processing_guarantee.value == "at_least_once"
    assert (conf.broker_commit_interval, conf.topic_partitions) == (1.0, 1)


async def _ignore(_key: bytes | None, _value: bytes | None) -> None:
    pass


async def test_what_may_be_another_log_is_compared_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_comparison, "SOON_SECONDS", 0.0)
    monkeypatch.setattr(topic_comparison, "FIRST_COMPARISON_SECONDS", 3600.0)
    due, compared = asyncio.Event(), asyncio.Event()

    async def check(position: object) -> None:
        due.clear()
        compared.set()

    ownership: Any = SimpleNamespace(logs=SimpleNamespace(comparison_due=due, check=check), ready=True)
    comparing = asyncio.create_task(topic_comparison.compare_topics(ownership, lambda _: 0, pytest.fail))
    for _ in range(2):
        compared.clear()
        due.set()
        async with asyncio.timeout(10):
            await compared.wait()
    comparing.cancel()


async def test_an_agent_takes_what_is_there_and_ends_when_faust_says_so() -> None:
    inbox: ThrowableQueue[Any] = ThrowableQueue(flow_control=FlowControlEvent(initially_suspended=False))
    came: list[int] = []

    async def handle(arrival: Any) -> None:
        came.append(arrival)

    for number in range(3 * TAKEN_AT_A_TIME):
        inbox.put_nowait(number)
    agent = asyncio.create_task(handle_arrivals(inbox, handle))
    await asyncio.sleep(0)
    assert len(came) == TAKEN_AT_A_TIME + 1, "other tasks run in between"
    async with asyncio.timeout(10):
        while len(came) < 3 * TAKEN_AT_A_TIME:
            await asyncio.sleep(0)
        await inbox.throw(StopAsyncIteration())
        await agent
    assert came == list(range(3 * TAKEN_AT_A_TIME))


async def test_a_bug_of_a_handler_ends_its_agent_with_the_error() -> None:
    inbox: asyncio.Queue[Any] = asyncio.Queue()

    async def handle(arrival: Any) -> None:
        raise StopAsyncIteration("a bug of the handler")

    inbox.put_nowait(1)
    with pytest.raises(StopAsyncIteration, match="a bug"):
        await handle_arrivals(inbox, handle)
