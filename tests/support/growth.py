"""How the work of a function grows with its input.

Processor time of this thread, not the clock: it depends little on what else the machine does. Only the ratio counts:
sixteen times the input makes linear work sixteen times as much, and quadratic work 256 times.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

_Input = TypeVar("_Input")

TIMES_LARGER = 16
# Between 16 (linear) and 256 (quadratic). Caches and allocation make up to 40 of 16.
LINEAR_AT_MOST = 90


def growth(make: Callable[[int], _Input], act: Callable[[_Input], object], size: int) -> float:
    """Work for an input of ``TIMES_LARGER`` times ``size`` over the work for one of ``size``; the best of some runs."""
    small, large = make(size), make(size * TIMES_LARGER)
    act(make(1))  # whatever is imported, compiled or cached first
    collects = gc.isenabled()
    gc.disable()  # what a collection takes depends on everything else that is in memory
    try:
        return min(_work(act, large) for _ in range(4)) / max(min(_work(act, small) for _ in range(12)), 1e-6)
    finally:
        if collects:
            gc.enable()


def _work(act: Callable[[_Input], object], given: _Input) -> float:
    began = time.thread_time()
    act(given)
    return time.thread_time() - began
