"""Times a function."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """How often a function runs per second on one core. ``cpu_us``: processor time per run, in microseconds."""

    what: str
    per_second: float
    cpu_us: float


def measure(what: str, act: Callable[[], object], seconds: float) -> Measured:
    """Call ``act`` for about ``seconds``, in rounds. The best round counts, because the others were disturbed."""
    best_wall = best_cpu = float("inf")
    deadline = time.perf_counter() + seconds / ROUNDS
    count = 0
    while time.perf_counter() < deadline:
        act()
        count += 1
    for _ in range(ROUNDS - 1):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            act()
        best_wall = min(best_wall, (time.perf_counter() - wall) / count)
        best_cpu = min(best_cpu, (time.process_time() - cpu) / count)
    return Measured(what, 1 / best_wall, best_cpu * 1e6)
