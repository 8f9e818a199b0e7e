"""What a person is told when an operation over the API cannot be done now."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.delivery.letter_selection import NotFound, TaskChange
from app.flows import web_operations
from app.flows.web_operations import AT_ONCE, WebOperations
from app.kafka.admin import KafkaAccessError
from app.readmodels import ReadModels
from app.settings import KafkaSettings
from app.web.operations import OperationsUnavailable
from tests.unit.readmodels.test_letter_index import PIPELINE

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")


def operations(*, caught_up: bool = True, trouble: str | None = None) -> WebOperations:
    models = SimpleNamespace(caught_up=lambda *_: caught_up, trouble=lambda: trouble)
    return WebOperations(KAFKA, PIPELINE, cast(ReadModels, models), None)


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def change(*_: Any, **__: Any) -> None:
        if isinstance(answer, Exception):
            raise answer
        answer()

    monkeypatch.setattr(web_operations, "change_task", change)


async def test_a_write_that_was_not_acknowledged_may_have_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, KafkaAccessError("Kafka is away."))
    with pytest.raises(OperationsUnavailable, match=r"^Kafka is away\. It may have been written all the same"):
        await operations().change_task("t", TaskChange.PAUSE, "ann", "")


async def test_what_is_not_allowed_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, NotFound("there is no task with this ID"))
    with pytest.raises(NotFound):
        await operations().change_task("t", TaskChange.PAUSE, "ann", "")


@pytest.mark.parametrize(("trouble", "named"), [(None, "catching up"), ("Kafka is away.", "Kafka is")])
async def test_nothing_is_done_before_all_is_known(trouble: str | None, named: str) -> None:
    with pytest.raises(OperationsUnavailable, match=f"{named}.*[a-z]; nothing was done"):
        await operations(caught_up=False, trouble=trouble).change_task("t", TaskChange.PAUSE, "ann", "")


async def test_one_operation_too_many_is_refused_and_the_next_one_gets_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_operations, "TURN_SECONDS", 0.05)
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        assert go_on.wait(30)

    answering(monkeypatch, work)
    busy = operations()
    under_way = [asyncio.ensure_future(busy.change_task("t", TaskChange.PAUSE, "ann", "")) for _ in range(AT_ONCE)]
    for _ in under_way:
        assert await asyncio.to_thread(begun.acquire, timeout=30)
    with pytest.raises(OperationsUnavailable, match="too many operations"):
        await busy.change_task("t", TaskChange.PAUSE, "ann", "")
    go_on.set()
    await asyncio.gather(*under_way)
    await busy.change_task("t", TaskChange.PAUSE, "ann", "")
