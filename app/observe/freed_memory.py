"""Returns unused memory to the system every minute.

An error refers to the stack frames that raised it, and some frames refer to the error. Only Python's garbage collector
frees such cycles. A worker runs the collector rarely, because it took a tenth of the processor time, so objects that
errors referred to piled up under faults: twenty replaced Kafka clients with 80 threads in a soak of 40 minutes.

glibc also keeps memory that was freed. Answers and batches are large, live for milliseconds, and are made in several
threads, and glibc has an arena for each thread. In a soak with faults a worker grew from 130 to 153 MiB in 10 minutes
while Python held no more objects; 14 MiB of that were returned when glibc was asked to (glibc manual, "Malloc Tunable
Parameters", mallopt(3)).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.observe.background import BackgroundTask

EVERY_SECONDS = 60.0
_M_ARENA_MAX, _ARENAS = -8, 2
# New objects before a collection, and collections before one of the next generation (Python: 700, 10, 10).
COLLECT_AFTER = (20_000, 20, 20)


def limit_arenas() -> bool:
    """Let all threads share two arenas; call it before threads start. False if the C library is not glibc."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    except (OSError, AttributeError, TypeError):
        return False


def return_free_memory() -> bool:
    """Return free memory to the system; takes some milliseconds. False if there was none, or without glibc."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError, TypeError):
        return False


def collect_and_return() -> None:
    """Free unreachable cycles, then return free memory to the system."""
    gc.collect()
    return_free_memory()


def spare_the_collector() -> None:
    """What is there after the start stays: searching it for garbage again and again cost a tenth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@asynccontextmanager
async def returning_free_memory(every_seconds: float = EVERY_SECONDS) -> AsyncIterator[None]:
    """Collect and return memory at intervals, for the length of a ``with`` block."""

    async def again_and_again() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            await asyncio.to_thread(collect_and_return)

    task = BackgroundTask("freed memory")
    task.start(again_and_again())
    try:
        yield
    finally:
        await task.stop()
