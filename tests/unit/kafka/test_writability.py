"""Writes to a topic that takes none wait for one that tries; what does not pass ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog
from aiokafka import errors

from app.kafka import writability
from app.kafka.refusals import NOT_WRITTEN, RecordRefused, what_to_do
from app.kafka.writability import SLOW_SECONDS, Writability

DENIED = errors.TopicAuthorizationFailedError("t")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writability, "TRY_SECONDS", 0.0)


class Topic:
    """Refuses until it is opened; counts the tries."""

    def __init__(self) -> None:
        self.error: errors.KafkaError | None = DENIED
        self.tries = 0

    async def write(self) -> int:
        self.tries += 1
        if self.error is not None:
            raise self.error
        return self.tries


def waiting_writes(topic: Topic, made: Writability, count: int) -> list[asyncio.Task[int]]:
    write: Callable[[], Awaitable[int]] = topic.write
    return [asyncio.create_task(made.until_written("t", write, DENIED)) for _ in range(count)]


async def steps(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_tries_and_all_go_on_when_the_topic_takes_writes() -> None:
    made, topic = Writability(lambda _: None), Topic()
    with structlog.testing.capture_logs() as said:
        writes = waiting_writes(topic, made, 5)
        await steps()
        assert made.is_closed("t")
        assert made.waiting == set(writes)
        assert topic.tries <= 20, "all of them try"
        assert "the right WRITE on topic t is missing" in made.reasons()["t"]
        topic.error = None
        await asyncio.gather(*writes)
    assert not made.is_closed("t")
    assert made.waiting == frozenset()
    assert made.reasons() == {}
    assert [one["event"] for one in said] == ["writes wait, everything else goes on", "the topic takes writes again"]


async def test_another_cause_is_told_too() -> None:
    made, topic = Writability(lambda _: None), Topic()
    with structlog.testing.capture_logs() as said:
        [write] = waiting_writes(topic, made, 1)
        await steps()
        topic.error = RecordRefused()
        await steps()
        topic.error = None
        await write
    assert ["WRITE" in str(one.get("reason")) for one in said] == [True, False, False]


async def test_when_the_one_that_tries_is_cancelled_another_one_does() -> None:
    made, topic = Writability(lambda _: None), Topic()
    writes = waiting_writes(topic, made, 3)
    await steps()
    writes[0].cancel()
    await steps()
    topic.error = None
    assert await asyncio.wait_for(asyncio.gather(*writes[1:]), 5)
    assert made.waiting == frozenset()


async def test_what_does_not_pass_reaches_the_writer() -> None:
    made, topic = Writability(lambda _: None), Topic()
    writes = waiting_writes(topic, made, 2)
    await steps()
    topic.error = errors.OutOfOrderSequenceNumber()
    ended = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 5)
    assert [type(error) for error in ended] == [errors.OutOfOrderSequenceNumber] * 2


async def test_a_write_that_nobody_acknowledges_is_told_with_what_the_client_met() -> None:
    now, tried_on = 0.0, errors.NotEnoughReplicasError()
    met: dict[str, errors.KafkaError] = {"few": tried_on}
    made = Writability(met.get, clock=lambda: now)
    tokens = [made.begin({topic}) for topic in ("few", "silent")]
    assert made.reasons() == {}
    now = SLOW_SECONDS
    reasons = made.reasons()
    assert "min.insync.replicas" in reasons["few"]
    assert "no broker acknowledges" in reasons["silent"]
    for token in tokens:
        made.end(token)
    assert made.reasons() == {}


@pytest.mark.parametrize("error", [*NOT_WRITTEN])
def test_what_was_not_written_and_can_be_mended_is_waited_for(error: type[errors.KafkaError]) -> None:
    if error is not errors.MessageSizeTooLargeError:  # becomes TooLarge
        assert "t" in (what_to_do(error(), "t") or "")


@pytest.mark.parametrize(
    "error",
    [errors.UnknownError(), errors.ProducerFenced(), errors.KafkaTimeoutError(), errors.InvalidRequiredAcksError()],
)
def test_everything_else_ends_the_worker(error: errors.KafkaError) -> None:
    assert what_to_do(error, "t") is None


def test_a_refused_record_has_a_name() -> None:
    assert "RecordRefused" in (what_to_do(RecordRefused(), "t") or "")
