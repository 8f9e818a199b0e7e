"""This program's worker, everything durable, with a sink that makes one POST for each event, by its own HTTP client.

``BENCH_SAMPLES`` names a file: then the process is sampled while it works, see ``sampling``.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import uvloop

from app.delivery.outcome import Attempt, RecordCount
from app.flows.consumers import consumers
from app.flows.worker import Worker
from app.http.transport import HttpTransport
from app.observe.logging import configure_logging
from app.profile.entities import EntityType
from app.profile.event import ProfileEvent
from app.settings import WorkerSettings
from app.sinks.sink import Permit
from bench.programs.post import BODY, HEADERS, IN_FLIGHT
from bench.programs.sampling import sampled

_WRITTEN = Attempt(records=(RecordCount(EntityType.CONSUMER, 1, 0),))


class StaticSink:
    """A target that takes everything."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """One call; one that fails is a bug of the measurement and becomes a dead letter, which the table reports."""
        answer = await self._transport.post(os.environ["BENCH_TARGET"], BODY, HEADERS, permit=permit)
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}")
        return _WRITTEN


async def main(settings: WorkerSettings) -> None:
    """Until SIGTERM."""
    timeout_seconds = settings.cmt.timeout_seconds
    async with HttpTransport(timeout_seconds=timeout_seconds, limit=IN_FLIGHT) as transport:
        await Worker(settings, partial(consumers, sink=StaticSink(transport))).run()


if __name__ == "__main__":
    settings = WorkerSettings()
    configure_logging(settings.general)
    samples = os.environ.get("BENCH_SAMPLES")
    with (
        sampled(Path(samples)) if samples else nullcontext(),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(main(settings))
