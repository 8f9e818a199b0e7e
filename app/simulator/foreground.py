"""Runs a simulator in the foreground, as `profile-sync simulator` does."""

from __future__ import annotations

import asyncio
import gc
import shlex
import signal
from collections.abc import Callable

import uvloop

from app.simulator.server import Simulator

# The journal holds millions of objects that are never garbage. Each full collection would walk them all and stop every
# caller for a moment, so the oldest generation is collected a hundred times less often than usual.
_GC_THRESHOLDS = (10_000, 20, 1_000)


def run_simulator(simulator: Simulator, announce: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM. `announce` gets one line: the address, and the environment for clients.

    Raises OSError if the address cannot be used.
    """
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(simulator, announce))


async def _serve(simulator: Simulator, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in simulator.environment().items())
        announce(f"Simulator on {simulator.url} (Ctrl-C ends it). Use it with: {environment}")
        await stop.wait()
