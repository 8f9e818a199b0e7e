"""How long to wait before the next attempt: exponential, with full jitter."""

from __future__ import annotations


def delay_seconds(attempt: int, base: float, maximum: float, fraction: float) -> float:
    """Seconds to wait after failed attempt ``attempt`` (1 = the first).

    ``fraction`` in [0, 1) is the random part ("full jitter": anywhere between nothing and the full step, so that events
    which failed together do not come back together).

    >>> [delay_seconds(n, base=1.0, maximum=300.0, fraction=0.999999) // 1 for n in (1, 2, 3, 4)]
    [0.0, 1.0, 3.0, 7.0]
    >>> delay_seconds(60, base=1.0, maximum=300.0, fraction=0.5)
    150.0
    >>> delay_seconds(1, base=0.0, maximum=300.0, fraction=0.5)
    0.0
    """
    step = base * 2.0 ** min(attempt - 1, 32)
    return min(step, maximum) * fraction
