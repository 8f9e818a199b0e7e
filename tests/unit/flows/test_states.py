"""The consumers' records for the engine: whoever cannot keep them ends, so that another worker takes over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from app.delivery.pipeline import Pipeline
from app.engine.context import EngineStopped
from app.flows import states
from app.flows.states import ReadModelStates

PIPELINE = Pipeline("consumers", "main", "group")


@dataclass
class NeverThere:
    """Read models that do not get on; ``why``: because their file cannot be written."""

    why: str | None
    asked: int = 0
    arrives_after: int = 1_000_000

    async def wait_until(self, *_: Any) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        return self.asked > self.arrives_after

    def trouble(self) -> str | None:
        return self.why or "Kafka is away"

    def broken(self) -> str | None:
        return self.why


def states_of(models: NeverThere) -> ReadModelStates:
    return ReadModelStates(PIPELINE, models)  # type: ignore[arg-type]


async def test_a_disk_that_stays_full_ends_the_worker_and_says_what_to_do() -> None:
    models = NeverThere("the read model's file cannot be written: database or disk is full")
    with pytest.raises(EngineStopped, match=r"disk is full.*DATA_DIR"):
        await states_of(models).catch_up(0, 10)
    assert models.asked == states.BROKEN_SECONDS / states.PATIENCE_SECONDS


async def test_it_is_waited_for_while_kafka_is_away() -> None:
    models = NeverThere(None, arrives_after=50)
    await states_of(models).catch_up(0, 10)
    assert models.asked == 51
