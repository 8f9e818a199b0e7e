"""Measures how the work of a function grows with its input.

It uses the processor time of this thread, which depends little on what else the machine does. Only the ratio counts:
with sixteen times the input, linear work grows sixteenfold and quadratic work 256-fold.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

_Input = TypeVar("_Input")

TIMES_LARGER = 16
# Between 16 (linear) and 256 (quadratic). Caches and allocation can turn 16 into 40.
LINEAR_AT_MOST = 90


def growth(make: Callable[[int], _Input], act: Callable[[_Input], object], size: int) -> float:
    """The work for an input ``TIMES_LARGER`` times as large, divided by that for ``size``; the best of some runs."""
    small, large = make(size), make(size * TIMES_LARGER)
    act(make(1))  # imports, compiles and caches whatever the first call needs
    collects = gc.isenabled()
    gc.disable()  # the cost of a collection depends on everything else in memory
    try:
        return min(_work(act, large) for _ in range(4)) / max(min(_work(act, small) for _ in range(12)), 1e-6)
    finally:
        if collects:
            gc.enable()


def _work(act: Callable[[_Input], object], given: _Input) -> float:
    began = time.thread_time()
    act(given)
    return time.thread_time() - began
