"""How long to wait before the next attempt: exponential, with equal jitter."""

from __future__ import annotations


def delay_seconds(attempt: int, base: float, maximum: float, fraction: float) -> float:
    """Seconds to wait after failed attempt ``attempt`` (1 = the first).

    ``fraction`` in [0, 1) is the random part. With equal jitter, at least half of each step is waited: the attempts
    cover the minutes that a deadlock or a slow database lasts, and events that failed together are spread out.

    >>> [delay_seconds(n, base=10.0, maximum=300.0, fraction=0.0) for n in (1, 2, 3, 4)]
    [5.0, 10.0, 20.0, 40.0]
    >>> [delay_seconds(n, base=10.0, maximum=300.0, fraction=0.5) for n in (1, 60)]
    [7.5, 225.0]
    >>> delay_seconds(1, base=0.0, maximum=300.0, fraction=0.5)
    0.0
    """
    step = base * 2.0 ** min(attempt - 1, 32)
    return min(step, maximum) * (0.5 + fraction / 2)
