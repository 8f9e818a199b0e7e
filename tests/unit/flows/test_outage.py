"""What an outage leads to: the breaker hears of the right calls, and one incident says when it lasts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from app.cmt.rights import Right
from app.delivery.alert import Alert, AlertKind, Severity
from app.delivery.errors import lookup
from app.delivery.pipeline import Pipeline
from app.engine.breaker import Breaker
from app.engine.gates import Gates
from app.flows import outage
from app.flows.outage import OutageWatch
from app.flows.target_health import TargetHealth
from app.observe.metrics import Metrics
from tests.unit.engine.fakes import FakeProducer

PIPELINE = Pipeline("consumers", "main", "group")


def watching(
    breaker: Breaker, producer: FakeProducer, *, account: str = "default", health: TargetHealth | None = None
) -> OutageWatch:
    health = health or TargetHealth(breaker, Metrics(), "default")
    return OutageWatch(account, health, producer, PIPELINE, alert_seconds=60)  # type: ignore[arg-type]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("result", ["CMT-TIMEOUT", "CMT-SERVER-FAULT", "CMT-UNAVAILABLE"])
def test_calls_that_fail_for_the_targets_health_open_the_breaker(result: str) -> None:
    breaker = Breaker(3, 1.0)
    health = TargetHealth(breaker, Metrics(), "default")
    for _ in range(3):
        assert not breaker.is_open
        health.call("upsert", "pet", result, 0.1)
    assert breaker.is_open


def test_throttling_neither_opens_nor_closes_the_breaker() -> None:
    breaker = Breaker(2, 1.0)
    health = TargetHealth(breaker, Metrics(), "default")
    for _ in range(50):
        health.call("upsert", "pet", "CMT-RATE-LIMITED", 0.1)
    assert not breaker.is_open
    breaker.trip()
    health.call("upsert", "pet", "CMT-RATE-LIMITED", 0.1)
    assert breaker.is_open


@pytest.mark.parametrize("result", ["ok", "CMT-ROW-INVALID", "CMT-ROW-CONTENTION", "CMT-RETRIEVE-ERROR"])
def test_a_target_that_refuses_a_row_is_alive(result: str) -> None:
    breaker = Breaker(2, 1.0)
    health = TargetHealth(breaker, Metrics(), "default")
    for _ in range(5):
        health.call("upsert", "pet", "CMT-TIMEOUT", 0.1)
        health.call("upsert", "pet", result, 0.1)
    assert not breaker.is_open


@pytest.mark.parametrize("result", ["CMT-HTTP-REFUSED", "CMT-CLIENT-FAULT"])
def test_a_refusal_is_neither_a_failure_of_the_target_nor_its_success(result: str) -> None:
    breaker = Breaker(2, 1.0)
    health = TargetHealth(breaker, Metrics(), "default")
    for _ in range(5):
        health.call("upsert", "pet", result, 0.1)
    assert not breaker.is_open
    breaker.trip()
    health.call("upsert", "pet", result, 0.1)
    assert breaker.is_open
    assert health.trouble is not None
    assert health.trouble.code == result


def test_an_outage_of_refusals_says_what_to_do() -> None:
    message = outage.outage_message("default", lookup("CMT-CLIENT-FAULT"))
    assert "API user is active" in message
    assert message.endswith("when this is corrected.")


def test_calls_and_tokens_are_counted_in_the_metrics() -> None:
    metrics = Metrics()
    health = TargetHealth(Breaker(0, 1.0), metrics, "510001")
    health.call("upsert", "pet", "CMT-TIMEOUT", 0.1)
    health.token("ok")
    text = metrics.render().decode()
    assert 'profile_sync_cmt_calls_total{entity="pet",operation="upsert",result="CMT-TIMEOUT"} 1.0' in text
    assert 'profile_sync_token_refreshes_total{result="ok"} 1.0' in text
    assert 'profile_sync_account_calls_total{account="510001",result="CMT-TIMEOUT"} 1.0' in text
    assert 'profile_sync_account_token_refreshes_total{account="510001",result="ok"} 1.0' in text


async def test_one_alert_says_that_it_lasts_and_one_that_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    breaker = Breaker(1, 5.0, clock=clock)
    async with watching(breaker, producer):
        breaker.failed()
        clock.now += 59
        await asyncio.sleep(0.05)
        assert producer.written == [], "a short outage is nobody's incident"
        clock.now += 2
        await until(lambda: producer.written)
        await asyncio.sleep(0.05)
        breaker.succeeded()
        clock.now += 29
        await asyncio.sleep(0.05)
        assert len(producer.written) == 1, "it may come back"
        clock.now += 2
        await until(lambda: len(producer.written) == 2)
    alerts = [Alert.from_bytes(record.value) for record in producer.of(PIPELINE.alerts_topic)]
    assert [alert.kind for alert in alerts] == [AlertKind.OPEN, AlertKind.RESOLVE]
    assert len({alert.fingerprint for alert in alerts}) == 1
    assert {record.key for record in producer.written} == {alerts[0].fingerprint.encode()}


async def test_the_log_says_why_the_breaker_opened_and_how_long_it_was_open_and_what_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer, waiting = Clock(), FakeProducer(), 3
    health = TargetHealth(Breaker(1, 5.0, clock=clock), Metrics(), "default")
    watch = OutageWatch("default", health, producer, PIPELINE, 60, lambda: waiting)  # type: ignore[arg-type]
    with capture_logs() as logged:
        async with watch:
            health.call("upsert", "pet", "CMT-TIMEOUT", 0.1)
            await until(lambda: logged)
            waiting = 17
            await asyncio.sleep(0.02)
            waiting = 5  # some are done by the time it is noticed that the breaker has closed
            clock.now += 42
            health.call("upsert", "pet", "ok", 0.1)
            await until(lambda: len(logged) == 2)
            await asyncio.sleep(0.02)
    opened, closed = logged
    assert (opened["log_level"], opened["reason"]) == ("warning", "CMT-TIMEOUT")
    assert opened["event"].startswith("circuit breaker opened")
    assert closed["event"].startswith("circuit breaker closed")
    assert (closed["open_seconds"], closed["events_waiting"]) == (42, 17)


async def test_refused_credentials_open_the_breaker_with_an_error_that_says_what_to_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    health = TargetHealth(Breaker(1, 5.0), Metrics(), "default")
    with capture_logs() as logged:
        async with watching(health.breaker, FakeProducer(), health=health):
            health.token("CMT-TOKEN-REFUSED")
            health.breaker.trip()
            await until(lambda: logged)
    assert (logged[0]["log_level"], logged[0]["reason"]) == ("error", "CMT-TOKEN-REFUSED")
    assert "CMT_CLIENT_SECRET" in logged[0]["do"]


async def test_a_short_outage_makes_no_alert_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    breaker = Breaker(1, 5.0, clock=clock)
    async with watching(breaker, producer):
        for _ in range(3):
            breaker.failed()
            clock.now += 30
            await asyncio.sleep(0.02)
            breaker.succeeded()
            await asyncio.sleep(0.02)
            clock.now += 31
            await asyncio.sleep(0.02)
    assert producer.written == []


async def test_an_outage_that_flickers_is_one_from_its_first_failure_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    breaker = Breaker(2, 5.0, clock=clock)
    async with watching(breaker, producer):
        for _ in range(4):
            breaker.failed()
            clock.now += 5
            breaker.failed()
            await asyncio.sleep(0.02)
            clock.now += 10
            breaker.succeeded()
            await asyncio.sleep(0.02)
            clock.now += 1
        breaker.failed()
        breaker.failed()
        await until(lambda: producer.written)
        await asyncio.sleep(0.02)
    (record,) = producer.written
    alert = Alert.from_bytes(record.value)
    assert alert.at_ms - alert.began_ms == pytest.approx(64_000, abs=500)


async def test_throttling_that_lasts_is_one_incident_of_its_own_and_says_how_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    breaker = Breaker(2, 5.0, clock=clock)
    health = TargetHealth(breaker, Metrics(), "default")
    watch = OutageWatch("default", health, producer, PIPELINE, alert_seconds=60, waiting=lambda: 17)  # type: ignore[arg-type]
    async with watch:
        for _ in range(7):
            health.call("upsert", "pet", "CMT-RATE-LIMITED", 0.1)
            health.call("upsert", "pet", "ok", 0.1)
            await asyncio.sleep(0.02)
            clock.now += 10
        assert not breaker.is_open
        health.call("upsert", "pet", "CMT-RATE-LIMITED", 0.1)
        await until(lambda: producer.written)
        breaker.throttle.enter()  # one call is asked to wait for long
        clock.now += 3600
        await asyncio.sleep(0.05)
        breaker.throttle.leave()
        await asyncio.sleep(0.05)
        assert len(producer.written) == 1
        clock.now += 31
        await until(lambda: len(producer.written) == 2)
    opened, over = [Alert.from_bytes(record.value) for record in producer.written]
    assert (opened.kind, over.kind) == (AlertKind.OPEN, AlertKind.RESOLVE)
    assert opened.fingerprint == over.fingerprint == "CMT-RATE-LIMITED:event:-"
    assert (opened.severity, opened.waiting) == (Severity.THROTTLING, 17)
    assert opened.at_ms - opened.began_ms == pytest.approx(60_000, abs=500)


async def test_a_few_throttled_calls_are_no_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    health = TargetHealth(Breaker(2, 5.0, clock=clock), Metrics(), "default")
    async with watching(health.breaker, producer, health=health):
        for _ in range(5):
            health.call("upsert", "pet", "CMT-RATE-LIMITED", 0.1)
            await asyncio.sleep(0.02)
            clock.now += 31
            await asyncio.sleep(0.02)
    assert producer.written == []


async def test_each_account_has_an_incident_of_its_own_that_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    healths = {name: TargetHealth(Breaker(1, 5.0, clock=clock), Metrics(), name) for name in ("510001", "510002")}
    async with (
        watching(healths["510001"].breaker, producer, account="510001", health=healths["510001"]),
        watching(healths["510002"].breaker, producer, account="510002", health=healths["510002"]),
    ):
        healths["510001"].call("upsert", "pet", "CMT-TIMEOUT", 0.1)
        healths["510002"].token("CMT-TOKEN-REFUSED")
        healths["510002"].breaker.trip()
        clock.now += 61
        await until(lambda: len(producer.written) == 2)
    alerts = {alert.fingerprint: alert.message for alert in map(Alert.from_bytes, (r.value for r in producer.written))}
    assert alerts.keys() == {
        "CMT-OUTAGE:account-510001:-",
        "CMT-OUTAGE:account-510002:-",
    }
    down, refused = (
        alerts["CMT-OUTAGE:account-510001:-"],
        alerts["CMT-OUTAGE:account-510002:-"],
    )
    assert "CMT-TIMEOUT" in down
    assert "by itself" in down
    assert "CMT-TOKEN-REFUSED" in refused
    assert "CMT_CLIENT_SECRET" in refused
    assert "when this is corrected" in refused


def test_trouble_is_what_was_said_last() -> None:
    health = TargetHealth(Breaker(0, 1.0), Metrics(), "default")
    health.call("upsert", "pet", "CMT-TIMEOUT", 0.1)
    health.token("CMT-TOKEN-REFUSED")
    assert health.trouble is not None
    assert health.trouble.code == "CMT-TOKEN-REFUSED"
    health.token("ok")
    assert health.trouble is not None, "a token is no answer to a call"
    health.call("upsert", "pet", "CMT-ROW-INVALID", 0.1)
    assert health.trouble is None


@pytest.mark.parametrize(("account", "place"), [("default", "pet"), ("510001", "account-510001-pet")])
async def test_a_right_that_a_childs_data_extension_lacks_is_one_incident_that_names_it(
    monkeypatch: pytest.MonkeyPatch, account: str, place: str
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    health = TargetHealth(Breaker(2, 5.0, clock=clock), Metrics(), "default")
    async with watching(health.breaker, producer, account=account, health=health):
        for _ in range(3):
            health.right(Right.WRITE, "pet", "CMT_Pet", granted=False)
            clock.now += 1
            await asyncio.sleep(0.02)
        health.right(Right.WRITE, "pet", "CMT_Pet", granted=True)
        await until(lambda: len(producer.written) == 2)
    opened, over = [Alert.from_bytes(record.value) for record in producer.written]
    assert (opened.kind, over.kind) == (AlertKind.OPEN, AlertKind.RESOLVE)
    assert opened.fingerprint == over.fingerprint == f"CMT-PERMISSION:{place}:-"
    assert opened.severity is Severity.FAILED
    assert "may not write CMT_Pet" in opened.message


async def test_a_right_that_is_missing_as_a_whole_is_one_outage_that_names_right_and_data_extensions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    health = TargetHealth(Breaker(2, 5.0, clock=clock), Metrics(), "default")
    gates = Gates(5.0, clock=clock)
    watch = OutageWatch(
        "default",
        health,
        producer,  # type: ignore[arg-type]
        PIPELINE,
        alert_seconds=60,
        waiting=lambda: 12,
        blocked_since=gates.shut_since,
    )
    async with watch:
        for entity in ("contact", "pet", "consumer"):
            health.right(Right.READ, entity, f"CMT_{entity}", granted=False)
        gates.shut("default", "UPDATE")
        gates.shut("default", "DELETE")
        for _ in range(62):
            clock.now += 1
            await asyncio.sleep(0.006)
        await until(lambda: producer.written)
        health.right(Right.READ, "contact", "CMT_contact", granted=True)
        health.right(Right.READ, "pet", "CMT_pet", granted=True)
        gates.reopen("default", "UPDATE")
        gates.reopen("default", "DELETE")
        clock.now += 1
        await asyncio.sleep(0.02)
        clock.now += 60
        await until(lambda: len(producer.written) == 2)
        await asyncio.sleep(0.02)
    opened, over = [Alert.from_bytes(record.value) for record in producer.written]
    assert (opened.kind, over.kind) == (AlertKind.OPEN, AlertKind.RESOLVE)
    assert opened.fingerprint == over.fingerprint == "CMT-NOT-ALLOWED:event:-"
    assert (opened.severity, opened.waiting) == (Severity.OUTAGE, 12)
    assert "may not read CMT_consumer, CMT_contact, CMT_pet" in opened.message


async def test_an_account_is_throttled_until_the_log_says_that_it_is_over_however_quiet_it_is_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    health = TargetHealth(Breaker(2, 5.0, clock=clock), Metrics(), "default")
    watch = OutageWatch("default", health, producer, PIPELINE, alert_seconds=math.inf)  # type: ignore[arg-type]
    async with watch:
        assert health.throttled_since is None
        began = clock.now
        health.call("upsert", "pet", "CMT-RATE-LIMITED", 0.1)
        await until(lambda: health.throttled_since)
        clock.now += 20
        health.call("upsert", "pet", "ok", 0.1)
        await asyncio.sleep(0.02)
        assert health.throttled_since == began, "one good answer is not the end of it"
        assert health.throttled_by is not None
        assert health.throttled_by.code == "CMT-RATE-LIMITED"
        health.breaker.throttle.enter()
        clock.now += 3600
        await asyncio.sleep(0.02)
        assert health.throttled_since == began, "a call waits"
        health.breaker.throttle.leave()
        await asyncio.sleep(0.02)
        clock.now += outage.THROTTLED_SECONDS + 1
        await until(lambda: health.throttled_since is None)
    assert producer.written == [], "a dry run reports nothing"


async def test_the_log_says_that_a_right_is_missing_and_that_it_is_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    health = TargetHealth(Breaker(2, 5.0, clock=clock), Metrics(), "default")
    gates = Gates(5.0, clock=clock)
    watch = OutageWatch(
        "default",
        health,
        producer,  # type: ignore[arg-type]
        PIPELINE,
        alert_seconds=math.inf,
        blocked_since=gates.shut_since,
    )
    with capture_logs() as logged:
        async with watch:
            health.right(Right.READ, "pet", "CMT_Pet", granted=False)
            gates.shut("default", "UPDATE")
            await until(lambda: logged)
            assert watch.blocked_since == clock.now
            clock.now += 42
            health.right(Right.READ, "pet", "CMT_Pet", granted=True)
            gates.reopen("default", "UPDATE")
            await until(lambda: len(logged) == 2)
            await asyncio.sleep(0.02)
    missing, back = logged
    assert missing["event"] == "a right in Marketing Cloud is missing; events wait for it"
    assert (missing["log_level"], missing["missing"]) == ("error", "may not read CMT_Pet")
    assert back["event"] == "the right is there again, work goes on"
    assert (back["was"], back["missing_seconds"]) == ("may not read CMT_Pet", 42)


@pytest.mark.parametrize("told", [60.0, math.inf])
async def test_the_log_says_so_too_when_one_childs_data_extension_lacks_it(
    monkeypatch: pytest.MonkeyPatch, told: float
) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    health = TargetHealth(Breaker(2, 5.0, clock=clock), Metrics(), "default")
    watch = OutageWatch("default", health, producer, PIPELINE, alert_seconds=told)  # type: ignore[arg-type]
    with capture_logs() as logged:
        async with watch:
            health.right(Right.WRITE, "pet", "CMT_Pet", granted=False)
            clock.now += 2
            await until(lambda: logged)
            health.right(Right.WRITE, "pet", "CMT_Pet", granted=True)
            await until(lambda: len(logged) == 2)
    assert [line["event"] for line in logged] == [
        "a right is missing on one data extension, its rows are not written",
        "the right is there again",
    ]
    assert [line["missing" if n == 0 else "was"] for n, line in enumerate(logged)] == ["may not write CMT_Pet"] * 2
    assert bool(producer.written) is (told < math.inf)
