"""What an outage leads to: the breaker hears of the right calls, and one incident says when it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from app.engine.breaker import Breaker
from app.flows import outage
from app.flows.outage import OutageWatch, TargetHealth
from app.incidents.alert import Alert, AlertKind
from app.observe.metrics import Metrics
from app.settings import KafkaSettings
from tests.unit.engine.fakes import FakeProducer

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:9", topic="main")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("result", ["CMT-TIMEOUT", "CMT-SERVER-FAULT", "CMT-RATE-LIMITED"])
def test_calls_that_fail_for_the_targets_health_open_the_breaker(result: str) -> None:
    breaker = Breaker(3, 1.0)
    health = TargetHealth(breaker, Metrics())
    for _ in range(3):
        assert not breaker.is_open
        health.call("upsert", "pet", result, 0.1)
    assert breaker.is_open


@pytest.mark.parametrize("result", ["ok", "CMT-ROW-INVALID", "CMT-ROW-CONTENTION", "CMT-RETRIEVE-ERROR"])
def test_a_target_that_refuses_a_row_is_alive(result: str) -> None:
    breaker = Breaker(2, 1.0)
    health = TargetHealth(breaker, Metrics())
    for _ in range(5):
        health.call("upsert", "pet", "CMT-TIMEOUT", 0.1)
        health.call("upsert", "pet", result, 0.1)
    assert not breaker.is_open


def test_calls_and_tokens_are_counted_in_the_metrics() -> None:
    metrics = Metrics()
    health = TargetHealth(Breaker(0, 1.0), metrics)
    health.call("upsert", "pet", "CMT-TIMEOUT", 0.1)
    health.token("ok")
    text = metrics.render().decode()
    assert 'profile_sync_cmt_calls_total{entity="pet",operation="upsert",result="CMT-TIMEOUT"} 1.0' in text
    assert 'profile_sync_token_refreshes_total{result="ok"} 1.0' in text


async def test_one_alert_says_that_it_lasts_and_one_that_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    breaker = Breaker(1, 5.0, clock=clock)
    async with OutageWatch(breaker, producer, KAFKA, alert_seconds=60):  # type: ignore[arg-type]
        breaker.failed()
        clock.now += 59
        await asyncio.sleep(0.05)
        assert producer.written == [], "a short outage is nobody's incident"
        clock.now += 2
        await until(lambda: producer.written)
        await asyncio.sleep(0.05)
        breaker.succeeded()
        await until(lambda: len(producer.written) == 2)
    alerts = [Alert.from_bytes(record.value) for record in producer.of(KAFKA.alerts_topic)]
    assert [alert.kind for alert in alerts] == [AlertKind.OPEN, AlertKind.RESOLVE]
    assert len({alert.fingerprint for alert in alerts}) == 1
    assert {record.key for record in producer.written} == {alerts[0].fingerprint.encode()}


async def test_a_short_outage_makes_no_alert_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_SECONDS", 0.005)
    clock, producer = Clock(), FakeProducer()
    breaker = Breaker(1, 5.0, clock=clock)
    async with OutageWatch(breaker, producer, KAFKA, alert_seconds=60):  # type: ignore[arg-type]
        for _ in range(3):
            breaker.failed()
            clock.now += 30
            await asyncio.sleep(0.02)
            breaker.succeeded()
            await asyncio.sleep(0.02)
    assert producer.written == []
