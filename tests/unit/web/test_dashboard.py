"""The page says what `profile-sync status` says: how all is, how many workers there are, and what waits."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import aiohttp

from app.delivery.cluster_facts import Facts, Judgement
from app.delivery.cluster_status import judge
from app.delivery.counts import Settlement
from app.delivery.outcome import Outcome
from app.delivery.partition_record import PartitionState
from app.delivery.worker_status import WorkerStatus
from app.observe.health import Readiness
from app.observe.metrics import Metrics
from app.readmodels import ReadModels
from app.settings import WebSettings
from app.web.server import WebServer
from app.web.state import Judge, WebState, judge_counts_only
from tests.support.records import partition_state, settlement

NOW = int(time.time() * 1000)


def judged(**fields: Any) -> Judge:
    worker = WorkerStatus(worker="a", at=NOW, started=NOW - 90_000, ready=True, partitions=(0,), lag=234)

    def of(complete: bool, dead_letters: Mapping[str, int]) -> Judgement:
        return judge(Facts([worker], range(1), complete=complete, dead_letters=dead_letters, **fields), NOW)

    return of


def counted(*given: Settlement) -> ReadModels:
    states: dict[int, PartitionState] = {0: partition_state(*given)}
    return cast(ReadModels, SimpleNamespace(caught_up=lambda *_: True, partitions=lambda: states))


async def page(models: ReadModels, judge_by: Judge) -> str:
    settings = WebSettings.model_validate({"port": 0, "auth": "off"})
    server = WebServer(WebState(models, Metrics(), Readiness.of, judge_by), settings)
    await server.start()
    try:
        async with aiohttp.ClientSession() as client, client.get(server.url) as answer:
            assert answer.status == 200
            return await answer.text()
    finally:
        await server.stop()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def test_the_page_has_the_headline_the_workers_and_the_lag_of_status() -> None:
    html = await page(counted(settlement()), judged())
    assert '<span class="badge good">complete</span>' in html
    assert "all is well · 1 worker · lag 234 events" in words(html)


async def test_the_badge_does_not_say_complete_beside_something_that_needs_a_person() -> None:
    dead = partition_state(settlement(outcome=Outcome.FAILED))
    dead.dead_letters["CMT-ROW-INVALID"] = 1
    models = cast(ReadModels, SimpleNamespace(caught_up=lambda *_: True, partitions=lambda: {0: dead}))
    html = await page(models, judged())
    assert '<span class="badge good person">needs a person</span>' in html
    assert "works, NEEDS A PERSON · 1 worker" in words(html)
    assert ">complete<" not in html


async def test_without_a_pipeline_nothing_is_said_of_workers() -> None:
    html = await page(counted(settlement()), judge_counts_only)
    assert "complete" in html
    assert "summary" not in html
