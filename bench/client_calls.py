"""Measures the Marketing Cloud client against the simulator, which runs in its own process."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from app.bundled import schema_path
from app.cmt.client import CmtClient
from app.profile.catalog_file import parse_catalog
from app.profile.entities import EntityType
from app.profile.samples.samples import sample_events
from app.settings import CmtSettings
from bench.timing import Measured

CONCURRENCY = 64


def run(seconds: float) -> Measured:
    """Make upserts of one row each for ``seconds``, ``CONCURRENCY`` at the same time."""
    with simulator() as url:
        settings = CmtSettings(auth_url=url, client_id="simulator", client_secret="simulator-secret")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_calls(settings, seconds))


async def _calls(settings: CmtSettings, seconds: float) -> Measured:
    catalog = parse_catalog(schema_path("data-extensions.json").read_bytes())
    rows = [event.consumer for event in sample_events(500, seed=1) if event.consumer]
    done = 0
    async with CmtClient(settings, catalog, concurrency=CONCURRENCY) as client:
        await client.token()
        wall, cpu = time.perf_counter(), time.process_time()

        async def caller(number: int) -> None:
            nonlocal done
            position = number
            while time.perf_counter() - wall < seconds:
                (result,) = await client.upsert([(EntityType.CONSUMER, rows[position % len(rows)])])
                if not result.ok:
                    raise RuntimeError(f"the simulator refused a row: {result.code}")
                position += CONCURRENCY
                done += 1

        async with asyncio.TaskGroup() as callers:
            for number in range(CONCURRENCY):
                callers.create_task(caller(number))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Measured(f"client: upsert calls to the simulator, {CONCURRENCY} in flight", done / wall, cpu / done * 1e6)


@contextmanager
def simulator(latency_ms: int = 0) -> Iterator[str]:
    """A simulator in its own process for the length of a ``with`` block; yields its address."""
    line = [sys.executable, "-m", "app", "simulator", "--latency-ms", str(latency_ms)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", first)
        if found is None:
            raise RuntimeError(f"the simulator did not start: {first!r}")
        yield found[0]
    finally:
        process.terminate()
        process.wait(10)
