"""A second pipeline runs on the engine without changes to it: this one appends its events to a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import pytest

from app.delivery.consumer_record import ConsumerState
from app.delivery.counts import Settlement
from app.delivery.errors import EVENT_NO_KEY, ErrorEntry
from app.delivery.fingerprint import Fingerprint
from app.delivery.outcome import InvalidEvent, Outcome, Settle
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.engine.breaker import Breaker
from app.engine.flow import Follows, Permit, Result, Work
from app.flows.recipe import Recipe, TargetAccount
from app.flows.worker import Worker
from app.observe.metrics import Metrics
from app.readmodels.kpi import totals
from app.settings import WorkerSettings
from app.settings.loading import ConfigurationError
from app.settings.pipelines import pipeline_of
from tests.support.in_process_worker import in_process_settings
from tests.support.kafka_probe import KafkaProbe, MakeKafkaSettings

WITHIN_SECONDS = 60.0


class ListFlow:
    def __init__(self) -> None:
        self.list: list[tuple[str, bytes]] = []

    def read(self, record: SourceRecord) -> Work:
        if not record.key:
            raise InvalidEvent(EVENT_NO_KEY, "no key", event_id=record.id)
        return Work(record, record.key.decode(), record.id, record.value)

    def invalid(self, record: SourceRecord, problem: InvalidEvent) -> Settlement:
        return Settlement(None, problem.event_id, "-", "-", record.day, Outcome.INVALID, problem.entry.code)

    def target(self, work: Work, state: ConsumerState | None) -> str:
        return "list"

    def kind(self, work: Work, state: ConsumerState | None) -> str:
        return "append"

    async def run(self, work: Work, *, attempt: int, last: bool, state: ConsumerState | None, permit: Permit) -> Result:
        permit()
        self.list.append((work.consumer, work.payload))
        return Result(Settle(Outcome.SYNCED), self._settlement(work.record, work.consumer, Outcome.SYNCED))

    def failed(
        self, work: Work, result: Result, attempt: int, follows: Follows, state: ConsumerState | None
    ) -> None: ...

    def gave_up(self, work: Work, entry: ErrorEntry, message: str, attempt: int) -> Result:
        return Result(Settle(Outcome.FAILED), self._settlement(work.record, work.consumer, Outcome.FAILED))

    def lost(self, record: SourceRecord, consumer: str, event_id: str, state: object, attempt: int) -> Result:
        return Result(Settle(Outcome.FAILED), self._settlement(record, consumer, Outcome.FAILED))

    def home(self, state: ConsumerState | None) -> str:
        return "list"

    async def mend(self, consumer: str, partition: int, state: object, record: object, permit: Permit) -> str:
        return "ok"

    def after_settling(
        self, before: ConsumerState | None, offset: int, settlement: Settlement, settled_ms: int
    ) -> ConsumerState:
        return ConsumerState(offset, settlement.market)

    def fingerprint(self, settlement: Settlement) -> Fingerprint:
        return Fingerprint(settlement.reason or "", "event", settlement.operation)

    def alert(self, record: SourceRecord, verdict: Verdict) -> tuple[bytes, bytes]:
        return b"list", b"{}"

    def _settlement(self, record: SourceRecord, consumer: str, outcome: Outcome) -> Settlement:
        return Settlement(consumer, record.id, "APPEND", "-", record.day, outcome)


class OneAccount(AbstractAsyncContextManager["OneAccount"]):
    """A target that needs no connection."""

    calls_allowed: Mapping[str, float] = {}
    warnings = ()

    def __init__(self) -> None:
        self.breakers = {"list": Breaker(20, 5.0)}

    def __iter__(self) -> Iterator[TargetAccount]:
        return iter(())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


async def test_another_pipeline_runs_without_a_change_in_the_engine(
    make_kafka_settings: MakeKafkaSettings, kafka: KafkaProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, settings = ListFlow(), in_process_settings(make_kafka_settings(partitions=2), tmp_path, monkeypatch)

    pipeline = replace(pipeline_of(settings.kafka), name="trial")

    def trial(settings: WorkerSettings, metrics: Metrics) -> Recipe:
        return Recipe(pipeline, "a list", flow, OneAccount(), call_seconds=1.0)

    worker = Worker(settings, trial)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(WITHIN_SECONDS):
        while not worker._readiness.now().ready:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.05)
        events = [(f"c-{number % 5}".encode(), f"{number}".encode()) for number in range(50)]
        await asyncio.to_thread(kafka.produce, pipeline.topic, [*events, (None, b"no key")])
        while totals(worker._read_models.partitions())["events"] < 51:
            await asyncio.sleep(0.05)
        worker._stop.set()
        await running
    by_consumer = [[value for key, value in flow.list if key == f"c-{number}"] for number in range(5)]
    assert by_consumer == [[f"{at}".encode() for at in range(number, 50, 5)] for number in range(5)]
    letters = await asyncio.to_thread(kafka.read_all, pipeline.dlq_topic)
    assert [letter.value for letter in letters] == [b"no key"]


def test_a_session_that_a_call_outlasts_is_refused(
    make_kafka_settings: MakeKafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = in_process_settings(make_kafka_settings(partitions=1), tmp_path, monkeypatch)
    pipeline = replace(pipeline_of(settings.kafka), name="trial")
    with pytest.raises(ConfigurationError, match=r"the longest call of the pipeline trial \(10\) by at least 2 s"):
        Worker(settings, lambda *_: Recipe(pipeline, "a list", ListFlow(), OneAccount(), call_seconds=10.0))
