"""What the web server needs from its worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from app.delivery.cluster_facts import CATCHING_UP, Judgement
from app.delivery.partition_record import PartitionState
from app.observe.health import Readiness
from app.observe.metrics import Metrics
from app.readmodels import Followed, ReadModels
from app.settings import WebSettings
from app.web.auth import TokenVerifier
from app.web.operations import Operations, OperationsUnavailable

# Judges the pipeline, given whether the counts are complete and the open dead letters by reason.
Judge = Callable[[bool, Mapping[str, int]], Judgement]


def judge_counts_only(complete: bool, dead_letters: Mapping[str, int]) -> Judgement:
    """For pages without a pipeline behind them: judge only whether the counts are complete."""
    return Judgement(() if complete else (CATCHING_UP,))


@dataclass(frozen=True, slots=True)
class WebState:
    """``readiness`` is called for every ``/readyz`` request and ``judge`` for every page, so neither may block.

    ``operations``: what persons may have done; None: nothing but reading.
    """

    read_models: ReadModels
    metrics: Metrics
    readiness: Callable[[], Readiness]
    judge: Judge = judge_counts_only
    dry_run: bool = False
    operations: Operations | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The partition records at one moment. ``complete``: no record written before that moment is missing."""

    partitions: Mapping[int, PartitionState]
    complete: bool


STATE = web.AppKey("state", WebState)
SETTINGS = web.AppKey("settings", WebSettings)
VERIFIER = web.AppKey("verifier", TokenVerifier)
# Threads of their own, few: the engine's questions do not wait behind those of the web, and a flood of slow ones does
# not take the processors from the events.
QUESTIONS = web.AppKey("questions", ThreadPoolExecutor)
QUESTION_THREADS = 3

T = TypeVar("T")


async def ask(request: web.Request, question: Callable[[ReadModels], T]) -> T:
    """The answer of the read models to a question, which may take a second, without blocking the event loop."""
    app = request.app
    return await asyncio.get_running_loop().run_in_executor(app[QUESTIONS], question, app[STATE].read_models)


async def ask_complete(
    request: web.Request, about: tuple[Followed, ...], question: Callable[[ReadModels], T]
) -> tuple[bool, T]:
    """(complete, answer): whether nothing is missing that was written before, and the answer."""

    def read(models: ReadModels) -> tuple[bool, T]:
        # Asked before and after, as in ``take_snapshot``.
        before = models.caught_up(*about)
        found = question(models)
        return before and models.caught_up(*about), found

    return await ask(request, read)


def operations(request: web.Request) -> Operations:
    """What persons may have done.

    Raises:
        OperationsUnavailable: this server only reads.
    """
    found = request.app[STATE].operations
    if found is None:
        raise OperationsUnavailable("this server takes no changes")
    return found


async def take_snapshot(request: web.Request) -> Snapshot:
    """Read the partition records without blocking the event loop."""

    def read(models: ReadModels) -> Snapshot:
        # Asked before and after: records that are read while catching up are not complete, even if the read models
        # reach the end in the meantime.
        before = models.caught_up(Followed.STATE, Followed.CONSUMERS)
        partitions = models.partitions()
        return Snapshot(partitions, before and models.caught_up(Followed.STATE, Followed.CONSUMERS))

    return await ask(request, read)
