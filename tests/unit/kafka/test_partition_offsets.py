"""Where partitions begin and end is asked with a call that is safe, one question at a time."""

from __future__ import annotations

import ast
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

import app
from app.kafka import partition_offsets
from app.kafka.partition_offsets import PartitionOffsets
from app.settings import KafkaSettings

SETTINGS = KafkaSettings(bootstrap_servers="127.0.0.1:9", partitions=2)
TPS = [("events", 0), ("events", 1)]


class Client:
    """Has records 3 to 6 in every partition. ``error``: what is wrong with the last one that is asked for."""

    made: list[Client]
    error: KafkaError | None = None

    def __init__(self, config: dict[str, Any], logger: object) -> None:
        self.config, self.closed, self.busy = config, False, False
        Client.made.append(self)

    def offsets_for_times(self, asked: list[TopicPartition], timeout: float) -> list[Any]:
        assert not self.busy, "two questions at a time"
        self.busy = True
        threading.Event().wait(0.005)
        self.busy = False
        answers = [TopicPartition(tp.topic, tp.partition, {-2: 3, -1: 7}[tp.offset]) for tp in asked]
        return [*answers[:-1], Failed(answers[-1], self.error)]

    def close(self) -> None:
        assert not self.busy
        self.closed = True


class Failed:
    """An answer with an error, or with none."""

    def __init__(self, answer: TopicPartition, error: KafkaError | None) -> None:
        self.topic, self.partition, self.offset, self.error = answer.topic, answer.partition, answer.offset, error


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    Client.made = []
    monkeypatch.setattr(partition_offsets, "Consumer", Client)


def test_both_ends_of_every_partition_are_known() -> None:
    offsets = PartitionOffsets(SETTINGS, "group", 1.0)
    assert Client.made == [], "nothing was asked yet"
    assert offsets.begins(TPS) == dict.fromkeys(TPS, 3)
    assert offsets.ends(TPS) == dict.fromkeys(TPS, 7)
    assert offsets.ends([]) == {}
    [made] = Client.made
    assert made.config["isolation.level"] == "read_uncommitted"


def test_questions_of_several_threads_wait_for_each_other_and_the_end_waits_for_them() -> None:
    offsets = PartitionOffsets(SETTINGS, "group", 1.0)
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(offsets.ends, TPS) for _ in range(16)]
        assert all(answer.result() == dict.fromkeys(TPS, 7) for answer in answers)
        last = threads.submit(offsets.ends, TPS)
        last.result()
        offsets.close()
    assert [made.closed for made in Client.made] == [True]
    with pytest.raises(KafkaException, match="closed"):
        offsets.ends(TPS)


def test_an_error_of_one_partition_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "error", KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
    with pytest.raises(KafkaException) as raised:
        PartitionOffsets(SETTINGS, "group", 1.0).ends(TPS)
    assert raised.value.args[0].code() == KafkaError.NOT_LEADER_FOR_PARTITION


def test_nothing_in_the_program_uses_the_call_that_may_use_freed_memory() -> None:
    uses = [
        f"{path}:{node.lineno}"
        for path in Path(app.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "list_offsets"
    ]
    assert uses == []
