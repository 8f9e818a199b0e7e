"""How the work of a function grows with its input.

Processor time of this thread, not the clock: it does not depend on what else the machine does. Only the ratio counts:
eight times the input makes linear work eight times as much, and quadratic work sixty-four times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_Input = TypeVar("_Input")

TIMES_LARGER = 8
# Between 8 (linear) and 64 (quadratic), with room for caches and allocation.
LINEAR_AT_MOST = 26


def growth(make: Callable[[int], _Input], act: Callable[[_Input], object], size: int) -> float:
    """Work for an input of eight times ``size`` over the work for one of ``size``; the best of three."""
    small, large = make(size), make(size * TIMES_LARGER)
    act(make(1))  # whatever is imported, compiled or cached first
    return min(_work(act, large) for _ in range(3)) / max(min(_work(act, small) for _ in range(5)), 1e-4)


def _work(act: Callable[[_Input], object], given: _Input) -> float:
    began = time.thread_time()
    act(given)
    return time.thread_time() - began
