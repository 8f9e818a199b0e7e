"""What the log says of failed calls: nothing untrue, and few lines when many events meet one cause."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.bundled import schema_path
from app.delivery.outcome import Attempt, Failure, Phase
from app.delivery.record import SourceRecord
from app.engine.flow import Follows, Permit
from app.flows.consumer_sync import ConsumerSync
from app.observe.redaction import hash_consumer
from app.profile.catalog_file import parse_catalog
from app.profile.entities import Catalog, EntityType
from app.settings import SyncSettings
from tests.unit.flows.one_sink import to


class ScriptedSink:
    attempt = Attempt()

    async def apply(self, event: Any, *, last_attempt: bool, permit: Permit) -> Attempt:
        return self.attempt


class Desk:
    """A flow whose events fail as they are told to, and what it has logged."""

    def __init__(self, catalog: Catalog) -> None:
        self.sink = ScriptedSink()
        self.flow = ConsumerSync(to(self.sink, catalog, lambda market: f"account of {market}"), catalog, SyncSettings())
        self.lines: list[Any] = []
        self.request_id = ""
        self._offset = 0

    async def event(
        self, code: str | None, follows: Follows = Follows.DECISION, *, attempt: int = 1, market: str = "DE"
    ) -> None:
        self._offset += 1
        document = {
            "eventId": f"e-{self._offset}",
            "operation": "NEW",
            "consumerId": "ann",
            "market": market,
            "occurredAt": "2026-11-21T10:00:00Z",
            "consumer": {"ConsumerId": "ann"},
        }
        value = json.dumps(document).encode()
        failure = Failure(code or "", "masked", EntityType.CONSUMER, Phase.PARENT, request_id=self.request_id)
        failures = (failure,) if code else ()
        self.sink.attempt = Attempt(failures)
        work = self.flow.read(SourceRecord("main", 3, self._offset, 1_795_000_000_000, b"ann", value))
        with capture_logs() as logged:
            result = await self.flow.run(
                work,
                attempt=attempt,
                last=attempt == 5,
                state=None,
                permit=lambda: None,  # type: ignore[arg-type]
            )
            assert not logged, "what follows is not known yet"
            if result.failures:
                self.flow.failed(work, result, attempt, follows, None)
        self.lines += logged


@pytest.fixture
def desk() -> Desk:
    return Desk(parse_catalog(schema_path("data-extensions.json").read_bytes()))


async def test_a_line_names_event_and_record_and_not_the_consumer(desk: Desk) -> None:
    await desk.event("CMT-ROW-INVALID")
    (line,) = desk.lines
    assert line["event"] == "a call failed"
    assert (line["event_id"], line["partition"], line["offset"]) == ("e-1", 3, 1)
    assert (line["consumer"], line["market"], line["attempt"]) == (hash_consumer("ann"), "DE", 1)
    assert line["next"] == "failed"
    assert "id" not in line


async def test_a_line_names_the_request_of_the_answer_if_there_was_one(desk: Desk) -> None:
    await desk.event("CMT-ROW-INVALID")
    desk.request_id = "7c7d"
    await desk.event("CMT-ROW-INVALID")
    assert [line.get("request_id") for line in desk.lines] == [None, "7c7d"]


async def test_an_outage_is_one_line_for_each_cause_and_none_promises_an_attempt(desk: Desk) -> None:
    await desk.event("CMT-TIMEOUT")  # before the breaker opened: this one used up an attempt
    for _ in range(20):
        await desk.event("CMT-TIMEOUT")
        await desk.event("CMT-TIMEOUT", Follows.WAITS_FOR_TARGET)
        await desk.event("CMT-UNAVAILABLE", Follows.WAITS_FOR_TARGET)
    assert [(line["reason"], line["next"]) for line in desk.lines] == [
        ("CMT-TIMEOUT", "another attempt"),
        ("CMT-TIMEOUT", "waits until Marketing Cloud answers, no attempt is used up"),
        ("CMT-UNAVAILABLE", "waits until Marketing Cloud answers, no attempt is used up"),
    ]
    assert [line.get("attempt") for line in desk.lines] == [1, None, None]


async def test_after_an_answer_of_the_account_the_cause_is_told_again(desk: Desk) -> None:
    for market, code in (
        ("DE", "CMT-TIMEOUT"),
        ("FR", None),
        ("DE", "CMT-TIMEOUT"),
        ("DE", None),
        ("DE", "CMT-TIMEOUT"),
    ):
        await desk.event(code, Follows.WAITS_FOR_TARGET, market=market)
    assert len(desk.lines) == 2


async def test_an_event_that_waits_for_a_right_says_so_once(desk: Desk) -> None:
    for _ in range(5):
        await desk.event("CMT-NOT-ALLOWED", Follows.WAITS_FOR_RIGHT)
    assert [line["next"] for line in desk.lines] == ["waits until the right is given, no attempt is used up"]


async def test_what_is_given_up_is_always_told(desk: Desk) -> None:
    for _ in range(3):
        await desk.event("CMT-TIMEOUT", attempt=5)
    assert [line["next"] for line in desk.lines] == ["failed"] * 3


async def test_failures_of_the_events_own_are_all_told(desk: Desk) -> None:
    for _ in range(3):
        await desk.event("CMT-ROW-CONTENTION")
    assert [line["next"] for line in desk.lines] == ["another attempt"] * 3
