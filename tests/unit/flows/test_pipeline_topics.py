"""A Kafka client that hangs costs one comparison of the topics, not all, and does not keep the process alive."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from app.delivery.pipeline import Pipeline
from app.engine.flow import TopicsUnknown
from app.flows import pipeline_topics, settled_digests
from app.flows.pipeline_topics import PipelineTopics
from app.kafka import daemon_threads
from app.kafka.admin import KafkaAccessError
from app.settings import KafkaSettings

PIPELINE = Pipeline("consumers", "main", "group")
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:9")
DEADLINE_SECONDS = 20.0  # reached only when the test fails


class EndOfPartition:
    """What a consumer says at the end of partition 0."""

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._PARTITION_EOF)

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0


@dataclass
class Clients:
    """Makes clients. The first one hangs in one of its calls until ``released`` is set."""

    hangs_in: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    made: list[Client] = field(default_factory=list)

    def make(self, *_: object, **__: object) -> Client:
        self.made.append(Client(self, "" if self.made else self.hangs_in))
        return self.made[-1]


@dataclass
class Client:
    """An admin client that no broker answers, and the consumer of an empty partition."""

    clients: Clients
    hangs_in: str
    closed: bool = False

    def topics(self, names: list[str]) -> dict[str, Any]:
        self._call("topics")
        raise KafkaAccessError("silent")

    def assign(self, tps: object) -> None:
        self._call("assign")

    def poll(self, seconds: float) -> EndOfPartition:
        return EndOfPartition()

    def close(self) -> None:
        self._call("close")
        self.closed = True

    def _call(self, name: str) -> None:
        if name == self.hangs_in:
            self.clients.released.wait()


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    clients = Clients()
    monkeypatch.setattr(pipeline_topics, "Admin", clients.make)
    monkeypatch.setattr(settled_digests, "Consumer", clients.make)
    yield clients
    clients.released.set()


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """For calls that hang; the calls that return must not be cut off on a slow machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KafkaSettings, "request_seconds", seconds)
        patch.setattr(daemon_threads, "SLACK_SECONDS", 0.0)
        yield


@pytest.mark.parametrize(
    ("hangs_in", "seconds", "reason"),
    [("topics", 0.05, "hangs: it was to look at the topics"), ("close", 1.0, "silent")],
)
async def test_an_admin_client_that_hangs_is_replaced(
    clients: Clients, hangs_in: str, seconds: float, reason: str
) -> None:
    clients.hangs_in = hangs_in
    topics = PipelineTopics(KAFKA, PIPELINE, read_models=None)  # type: ignore[arg-type]
    async with asyncio.timeout(DEADLINE_SECONDS):
        with patience(seconds), capture_logs() as logged, pytest.raises(TopicsUnknown, match=reason):
            await topics.look()
        assert [(line["log_level"], line["event"][:33]) for line in logged] == [
            ("error", "a call of the Kafka client hangs;")
        ]
        with pytest.raises(TopicsUnknown, match="silent"):
            await topics.look()
    assert [client.closed for client in clients.made] == [False, True]


@pytest.mark.parametrize("hangs_in", ["assign", "close"])
async def test_a_consumer_that_hangs_is_replaced(clients: Clients, hangs_in: str) -> None:
    clients.hangs_in = hangs_in
    topics = PipelineTopics(KAFKA, PIPELINE, read_models=None)  # type: ignore[arg-type]
    async with asyncio.timeout(DEADLINE_SECONDS):
        with patience(0.05), capture_logs() as logged, pytest.raises(TopicsUnknown, match="read topic main again"):
            await topics.record_digests({0: [3]})
        assert [line["call"] for line in logged] == ["read topic main again and close the consumer"]
        assert await topics.record_digests({0: [3]}) == {}


STOPPED_WHILE_IT_HANGS = """
import asyncio, threading
from app.flows import pipeline_topics
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of

called = threading.Event()

class Admin:
    def __init__(self, *_, **__):
        called.set()
        threading.Event().wait()

async def main():
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    topics = pipeline_topics.PipelineTopics(kafka, pipeline_of(kafka), None)
    looking = asyncio.create_task(topics.look())
    while not called.is_set():
        await asyncio.sleep(0)
    looking.cancel()

pipeline_topics.Admin = Admin
asyncio.run(main())
"""


def test_a_worker_ends_while_a_client_hangs() -> None:
    subprocess.run([sys.executable, "-c", STOPPED_WHILE_IT_HANGS], check=True, timeout=DEADLINE_SECONDS)
