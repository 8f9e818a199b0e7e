"""Memory that is not needed any more goes back to the system every minute.

Errors refer to the calls that raised them, and some of those to the error: only Python's garbage collector finds such
circles. A worker lets it come round rarely (it cost a tenth of all time), so what hung on errors piled up under faults:
in a soak of 40 minutes twenty Kafka clients that were long replaced, with 80 threads.

And where the C library is glibc, memory that was freed does not go back by itself. Answers and batches are large, live
for milliseconds and are made in several threads. glibc keeps what they leave, in an arena for each thread: in a soak
with faults a worker grew from 130 to 153 MiB in 10 minutes while Python held no object more, and 14 MiB of that went
back when glibc was asked (glibc manual, "Malloc Tunable Parameters", mallopt(3)).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

EVERY_SECONDS = 60.0
_M_ARENA_MAX, _ARENAS = -8, 2


def few_arenas() -> bool:
    """Threads share two arenas from now on; before there are many threads. False: the C library has no such thing."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    except (OSError, AttributeError, TypeError):
        return False


def give_back() -> bool:
    """Give back what is free; some milliseconds. False: there was nothing, or the C library cannot."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError, TypeError):
        return False


def collect_and_give_back() -> None:
    """Find what only circles hold, then give back what is free."""
    gc.collect()
    give_back()


@asynccontextmanager
async def given_back(every_seconds: float = EVERY_SECONDS) -> AsyncIterator[None]:
    """Collect and give back every so often, for the length of a ``with`` block."""

    async def again_and_again() -> None:
        while True:
            await asyncio.sleep(every_seconds)
            await asyncio.to_thread(collect_and_give_back)

    task = asyncio.create_task(again_and_again(), name="freed memory")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
