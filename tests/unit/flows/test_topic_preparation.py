"""What is done with the topics before a worker starts; a Kafka client that hangs does not do it in silence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from app.delivery.pipeline import Pipeline
from app.flows import topic_preparation
from app.flows.topic_preparation import prepare_topics
from app.flows.worker_end import WorkerFailed
from app.kafka import daemon_threads, topics
from app.kafka.admin import KafkaAccessError
from app.kafka.daemon_threads import CallHangs
from app.kafka.topic_specs import Problem
from app.kafka.topics import CreateReport
from app.settings import KafkaSettings

PIPELINE = Pipeline("consumers", "main", "group")
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:9")


class NoAdmin:
    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Broker:
    """Answers each step; a test replaces an answer."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.report = CreateReport((), (), ())
        self._patch = patch
        patch.setattr(topic_preparation, "Admin", NoAdmin)
        self.answers(topic_preparation, "state_gone", lambda: None)
        self.answers(topic_preparation, "creation_problems", list)
        self.answers(topics, "create", lambda: self.report)
        self.answers(topic_preparation, "place_group", dict)

    def answers(self, module: Any, step: str, answer: Callable[[], object]) -> None:
        def call(*_: object) -> object:
            self.steps.append(step)
            return answer()

        self._patch.setattr(module, step, call)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(monkeypatch)


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], object]]:
    """A call that does not return before the test ends; nobody waits for it for long."""
    monkeypatch.setattr(daemon_threads, "SLACK_SECONDS", 0.0)
    monkeypatch.setattr(topic_preparation, "STEP_SECONDS", 0.05)
    released = threading.Event()
    yield released.wait
    released.set()


async def test_nothing_is_created_before_the_state_has_been_looked_at(broker: Broker) -> None:
    await prepare_topics(KAFKA, PIPELINE)
    assert broker.steps == ["state_gone", "creation_problems", "create", "place_group"]


@pytest.mark.parametrize("step", ["state_gone", "creation_problems", "create", "place_group"])
async def test_a_client_that_hangs_is_reported_as_kafka_that_is_away(
    broker: Broker, hang: Callable[[], object], step: str
) -> None:
    broker.answers(topics if step == "create" else topic_preparation, step, hang)
    with pytest.raises(CallHangs, match="the Kafka client hangs") as hanging:
        await prepare_topics(KAFKA, PIPELINE)
    assert isinstance(hanging.value, KafkaAccessError), "the worker tries again with new clients"
    assert broker.steps[-1] == step


async def test_a_state_that_is_gone_keeps_topics_from_being_created(broker: Broker) -> None:
    broker.answers(topic_preparation, "state_gone", lambda: Problem("t", "state", "empty", "there", "Restore it."))
    with pytest.raises(WorkerFailed, match="Restore it"):
        await prepare_topics(KAFKA, PIPELINE)
    assert broker.steps == ["state_gone"]


async def test_only_what_a_worker_cannot_run_with_stops_it(broker: Broker) -> None:
    warned = Problem("group.dlq", "retention.ms", "1", "at least 2", "Mend it.")
    broker.report = CreateReport((), (), (warned,))
    with capture_logs() as logged:
        await prepare_topics(KAFKA, PIPELINE)
    assert [line["problem"] for line in logged] == [warned.message]
    fatal = Problem("group.retry", "partitions", "6", "8", "Set KAFKA_PARTITIONS.")
    broker.report = CreateReport((), (), (warned, fatal))
    with pytest.raises(WorkerFailed, match="KAFKA_PARTITIONS"):
        await prepare_topics(KAFKA, PIPELINE)
