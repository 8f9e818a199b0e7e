"""What the web needs of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from app.delivery.cluster_status import CATCHING_UP, Judgement
from app.delivery.partition_record import PartitionState
from app.observe.health import Readiness
from app.observe.metrics import Metrics
from app.readmodels import ReadModels
from app.settings import WebSettings
from app.web.auth import TokenVerifier

# Whether all is well: given whether the counts are complete, and the open dead letters by reason.
Judge = Callable[[bool, Mapping[str, int]], Judgement]


def judge_nothing(complete: bool, dead_letters: Mapping[str, int]) -> Judgement:
    """Where no pipeline runs behind the pages: the counts only."""
    return Judgement(() if complete else (CATCHING_UP,))


@dataclass(frozen=True, slots=True)
class WebState:
    """``readiness`` is asked with every request for ``/readyz``, ``judge`` with every page; they must not wait."""

    read_models: ReadModels
    metrics: Metrics
    readiness: Callable[[], Readiness]
    judge: Judge = judge_nothing
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The partitions' records at one moment; ``complete``: nothing written before it is missing."""

    partitions: Mapping[int, PartitionState]
    complete: bool


STATE = web.AppKey("state", WebState)
SETTINGS = web.AppKey("settings", WebSettings)
VERIFIER = web.AppKey("verifier", TokenVerifier)


async def take_snapshot(request: web.Request) -> Snapshot:
    """Read the partitions' records, without holding up the event loop."""
    models = request.app[STATE].read_models

    def read() -> Snapshot:
        # Asked before as well: records read while catching up are not complete, though the end is reached meanwhile.
        before = models.caught_up()
        partitions = models.partitions()
        return Snapshot(partitions, before and models.caught_up())

    return await asyncio.to_thread(read)
