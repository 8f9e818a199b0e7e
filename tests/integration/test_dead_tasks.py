"""A worker in this process. When one of its tasks is ended, the worker ends too and names the task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.engine.stream import Stream
from app.flows.consumers import consumers
from app.flows.worker import Worker
from app.flows.worker_end import WorkerFailed
from tests.support.in_process_worker import in_process_settings
from tests.support.kafka_probe import MakeKafkaSettings

WITHIN_SECONDS = 60.0

Victim = Callable[[Stream], asyncio.Task[Any]]


def _task_of_faust(service: Any, name: str) -> asyncio.Task[Any]:
    found = next(future for future in service._futures if future.__wrapped__.__name__ == name)
    assert isinstance(found, asyncio.Task)
    return found


def _named(name: str) -> asyncio.Task[Any]:
    return next(task for task in asyncio.all_tasks() if task.get_name() == name)


def _kafka(stream: Stream) -> Any:
    return stream.app.consumer._thread._consumer


VICTIMS: dict[str, tuple[Victim, str]] = {
    "aiokafka's fetcher": (lambda stream: _kafka(stream)._fetcher._fetch_task, "fetcher task"),
    "aiokafka's coordinator": (lambda stream: _kafka(stream)._coordinator._coordination_task, "coordinator task"),
    "aiokafka's metadata": (lambda stream: _kafka(stream)._client._sync_task, "metadata task"),
    "the producer's sender": (lambda stream: stream._context.producer._producer._sender.sender_task, "sender task"),
    "the producer's metadata": (lambda stream: stream._context.producer._producer.client._sync_task, "metadata task"),
    "the outage watch": (lambda stream: _named("outage watch"), "outage watch"),
    "the status": (lambda stream: _named("status"), "status"),
    "Faust's fetcher": (lambda stream: _task_of_faust(stream.app._fetcher, "_fetcher"), "_fetcher"),
    "Faust's recovery": (lambda stream: _task_of_faust(stream.app.tables.recovery, "_restart_recovery"), "_restart"),
    "Faust's commits": (lambda stream: _task_of_faust(stream.app.consumer, "_commit_handler"), "_commit_handler"),
}


@pytest.mark.parametrize(("victim", "named"), VICTIMS.values(), ids=VICTIMS)
async def test_a_task_that_ends_ends_the_worker_with_its_name(
    make_kafka_settings: MakeKafkaSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    victim: Victim,
    named: str,
) -> None:
    worker = Worker(in_process_settings(make_kafka_settings(partitions=1), tmp_path, monkeypatch), consumers)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(WITHIN_SECONDS):
        while not worker._readiness.now().ready:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.05)
        assert worker._stream is not None
        task = victim(worker._stream)
        task.get_loop().call_soon_threadsafe(task.cancel)
        with pytest.raises(WorkerFailed, match=named):
            await running
