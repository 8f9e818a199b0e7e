"""Keeps libraries from writing the same line a thousand times: while a broker is away they do, every second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

# Libraries that fill in their texts themselves have no end of different ones.
REMEMBERED = 1_000


@dataclass(slots=True)
class _Said:
    at: float
    left_out: int = 0


class Repeats(logging.Filter):
    """Lets a message of these libraries through once every ``seconds``, and says then how many were left out.

    The same message = the same text before its arguments are filled in, from the same logger.

    Args:
        names: loggers, with all below them.
        clock: monotonic seconds.
    """

    def __init__(self, names: tuple[str, ...], seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._names = tuple(f"{name}." for name in names)
        self._seconds = seconds
        self._clock = clock
        self._said: dict[tuple[str, str], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if not f"{record.name}.".startswith(self._names) or record.exc_info:
            return True
        now, key = self._clock(), (record.name, str(record.msg))
        said = self._said.get(key)
        if said is not None and now - said.at < self._seconds:
            said.left_out += 1
            return False
        if said is not None and said.left_out:
            record.msg = f"{record.getMessage()} (and {said.left_out} times like it in the last {now - said.at:.0f} s)"
            record.args = ()
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[key] = _Said(now)
        return True
