"""What a worker says of itself is heard by the others, and what is remembered of incidents outlives it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import pytest

from app.delivery.alert import Severity
from app.delivery.cluster_status import FORGOTTEN_MS
from app.delivery.pipeline import Pipeline
from app.delivery.worker_status import WorkerEnd, WorkerStatus
from app.flows.status_board import StatusBoard
from app.flows.status_records import is_ours, open_incidents, read_last_end, read_workers
from app.incidents.memory import Remembered
from app.incidents.tickets import Incident
from app.kafka.durable_producer import DurableProducer, Write
from app.readmodels.status_topic import StatusFollower
from app.settings import KafkaSettings

PIPELINE = Pipeline("consumers", "main", "group")
KAFKA = KafkaSettings(bootstrap_servers="one:9092")
OUTAGE = "CMT-OUTAGE:event:-"
REMEMBERED = Remembered(Incident("a" * 32, "INC1"), Severity.OUTAGE, 0, 1, 1, 1)


class Topic:
    """The status topic, and a producer that may refuse."""

    def __init__(self) -> None:
        self.written: list[Write] = []
        self.refusing = False

    async def write_one(self, record: Write) -> int:
        if self.refusing:
            raise PermissionError("not authorized")
        self.written.append(record)
        return len(self.written)


def now() -> int:
    return int(time.time() * 1000)


class Worker:
    def __init__(self, topic: Topic, follower: StatusFollower, name: str = "a") -> None:
        self.status = WorkerStatus(worker=name, at=now(), started=now(), ready=True)
        self.others: list[WorkerStatus] = []
        self.board = StatusBoard(
            PIPELINE, cast(DurableProducer, topic), follower, lambda: self.status, self.others.extend
        )

    def change(self, **fields: Any) -> None:
        self.status = self.status.model_copy(update={"at": now(), **fields})


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def follower() -> StatusFollower:
    return StatusFollower(KAFKA, PIPELINE, is_ours)


def keys(topic: Topic) -> list[str]:
    return [record.key.decode() for record in topic.written if record.key]


async def test_a_worker_speaks_when_something_changes_and_not_of_every_number(
    topic: Topic, follower: StatusFollower
) -> None:
    worker = Worker(topic, follower)
    await worker.board.look()
    worker.change(lag=7, last_success=now())
    await worker.board.look()
    assert keys(topic) == ["worker|a"]
    worker.change(causes=(OUTAGE,))
    await worker.board.look()
    assert keys(topic) == ["worker|a"] * 2
    assert (topic.written[0].topic, topic.written[0].partition) == (PIPELINE.status_topic, 0)


async def test_who_ends_says_why(topic: Topic, follower: StatusFollower) -> None:
    end = WorkerEnd(worker="a", at=now(), reason="another topic")
    producer = cast(DurableProducer, topic)
    status = WorkerStatus(worker="a", at=now(), started=now())
    async with StatusBoard(PIPELINE, producer, follower, lambda: status, end=lambda: end) as board:
        await board.look()
    assert topic.written[-1].key == b"end|last"
    assert read_last_end({"end|last": topic.written[-1].value or b""}) == end
    assert read_last_end({"end|last": b"x"}) is None


async def test_who_stops_takes_its_record_back(topic: Topic, follower: StatusFollower) -> None:
    worker = Worker(topic, follower)
    async with worker.board:
        await worker.board.look()
    assert topic.written[-1].value is None
    assert read_workers(follower.records()) == {}


async def test_who_went_without_a_goodbye_is_cleared_away_in_the_end(topic: Topic, follower: StatusFollower) -> None:
    for name, ago in (("long-gone", FORGOTTEN_MS + 1000), ("silent", 60_000), ("b", 1000)):
        gone = WorkerStatus(worker=name, at=now() - ago, started=1)
        follower.put(gone.key.decode(), gone.to_bytes())
    worker = Worker(topic, follower)
    await worker.board.look()
    assert [record.key for record in topic.written if record.value is None] == [b"worker|long-gone"]
    assert [other.worker for other in worker.others] == ["b"]


async def test_a_cause_is_on_while_any_live_worker_says_so(topic: Topic, follower: StatusFollower) -> None:
    worker = Worker(topic, follower)
    assert worker.board.still_on("EVENT-SCHEMA:event:-") is None
    assert worker.board.still_on(OUTAGE) is False
    other = WorkerStatus(worker="b", at=now(), started=1, causes=(OUTAGE,))
    follower.put(other.key.decode(), other.to_bytes())
    assert worker.board.still_on(OUTAGE) is True
    other = other.model_copy(update={"at": now() - 60_000})
    follower.put(other.key.decode(), other.to_bytes())
    assert worker.board.still_on(OUTAGE) is False
    worker.change(causes=(OUTAGE,))
    assert worker.board.still_on(OUTAGE) is True


async def test_an_incident_is_remembered_and_forgotten(topic: Topic, follower: StatusFollower) -> None:
    board = Worker(topic, follower).board
    await board.put(OUTAGE, REMEMBERED)
    assert board.all() == {OUTAGE: REMEMBERED}
    records: Mapping[str, bytes] = {r.key.decode(): r.value for r in topic.written if r.key and r.value}
    assert [one.number for one in open_incidents(records)] == ["INC1"]
    await board.put(OUTAGE, None)
    assert (board.all(), topic.written[-1].value) == ({}, None)


async def test_a_topic_that_may_not_be_written_stops_nothing(topic: Topic, follower: StatusFollower) -> None:
    worker = Worker(topic, follower)
    topic.refusing = True
    async with worker.board:
        await worker.board.look()
        await worker.board.put(OUTAGE, REMEMBERED)
        assert worker.board.all() == {OUTAGE: REMEMBERED}


async def test_what_others_wrote_into_the_topic_is_left_out(topic: Topic, follower: StatusFollower) -> None:
    for key in ("worker|x", "incident|y", "other", ""):
        follower.put(key, b"\xff{not ours")
    board = Worker(topic, follower).board
    assert [worker.worker for worker in board.workers()] == ["a"]
    assert board.all() == {}
