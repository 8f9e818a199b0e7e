"""A dead letter that does not fit goes without its value, rather than not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.delivery.counts import Settlement
from app.delivery.outcome import Outcome
from app.delivery.record import SourceRecord
from app.delivery.verdict import Verdict
from app.engine.dead_letters import send_dead_letter
from app.kafka.durable_producer import TooLarge, Write
from tests.unit.engine.fakes import FakeProducer

RECORD = SourceRecord(
    "main",
    3,
    14,
    1_795_000_000_000,
    b"key" * 400,
    b"value" * 1000,
    (("theirs", b"x" * 500), ("kafka_dlt-exception-message", b"y" * 500)),
)
VERDICT = Verdict(
    Settlement("c", "e-1", "NEW", "DE", "2026-11-21", Outcome.FAILED, "CMT-ROW-INVALID", 2),
    "refused",
    10,
    20,
    alert=True,
)


class NarrowProducer(FakeProducer):
    """Takes records of so many bytes of key, value and headers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    async def write_one(self, record: Write) -> int:
        headers = sum(len(name) + len(value or b"") for name, value in record.headers)
        if len(record.key or b"") + len(record.value or b"") + headers > self._size:
            raise TooLarge("too large")
        return await super().write_one(record)

    async def write_when_it_fits(self, record: Write) -> None:
        await super().write_one(record)


async def sent(size: int) -> Write:
    producer = NarrowProducer(size)
    await send_dead_letter(producer, RECORD, VERDICT, "main.dlq", "group")  # type: ignore[arg-type]
    [letter] = producer.written
    return letter


async def test_one_that_fits_is_the_record_itself() -> None:
    letter = await sent(100_000)
    assert (letter.topic, letter.partition, letter.key, letter.value) == ("main.dlq", 3, RECORD.key, RECORD.value)
    headers = dict(letter.headers)
    assert letter.headers[0] == ("theirs", b"x" * 500)
    assert headers["kafka_dlt-exception-fqcn"] == b"profile_sync.permanent.CMT-ROW-INVALID"
    assert "x-sync-value-omitted" not in headers


@pytest.mark.parametrize(("size", "key"), [(3000, RECORD.key), (1500, None)])
async def test_one_that_does_not_fit_says_where_the_event_stands(size: int, key: bytes | None) -> None:
    letter = await sent(size)
    assert (letter.partition, letter.key, letter.value) == (3, key, None)
    headers = dict(letter.headers)
    assert "theirs" not in headers
    assert (headers["x-sync-source-offset"], headers["x-sync-value-omitted"]) == (b"14", b"true")
    assert headers["x-sync-reason"] == b"CMT-ROW-INVALID"


async def test_the_smallest_one_is_written_when_it_fits() -> None:
    """Not even that fits into a topic of a few bytes: that is for its owner to change, and no reason to end."""
    letter = await sent(10)
    assert (letter.key, letter.value, dict(letter.headers)["x-sync-value-omitted"]) == (None, None, b"true")


async def test_what_another_dead_letter_said_is_replaced() -> None:
    names = [name for name, _ in (await sent(100_000)).headers]
    assert names.count("kafka_dlt-exception-message") == 1


async def test_a_code_that_this_version_does_not_know_stops_no_dead_letter() -> None:
    unknown = replace(VERDICT, settlement=replace(VERDICT.settlement, reason="CRM-REFUSED"))
    producer = FakeProducer()
    await send_dead_letter(producer, RECORD, unknown, "dlq", "group")  # type: ignore[arg-type]
    [letter] = producer.written
    assert dict(letter.headers)["kafka_dlt-exception-fqcn"] == b"profile_sync.permanent.CRM-REFUSED"
