"""Numbers and times in words, for status texts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers, with runs abbreviated.

    >>> ranges([0, 1, 2, 5, 7, 8]), ranges([])
    ('0-2, 5, 7-8', 'none')
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs) or "none"


def ago(ms: int, now_ms: int) -> str:
    """How long ago something was.

    >>> ago(0, 41_000), ago(0, 190_000), ago(0, 7_500_000), ago(0, 400_000_000)
    ('41 s', '3 min', '2 h 5 min', '4 d 15 h')
    """
    seconds = max(0, now_ms - ms) // 1000
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def clock(ms: int) -> str:
    """A time in UTC.

    >>> clock(1_763_000_000_000)
    '2025-11-13 02:13:20Z'
    """
    return f"{_EPOCH + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S}Z"
