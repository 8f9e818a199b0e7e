"""Suppresses repeated log lines of libraries, which are written every second while a broker is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

# The most messages that are remembered: a library that formats its texts itself has an unlimited number of them.
REMEMBERED = 1_000


@dataclass(slots=True)
class _Said:
    at: float
    left_out: int = 0


class Repeats(logging.Filter):
    """Passes each message of these libraries once every ``seconds``, with the number of suppressed repetitions.

    Two messages are the same if their logger and their text are the same, before arguments are filled in.

    Args:
        names: the loggers; all loggers below them are included.
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
            record.msg = f"{record.getMessage()} (and {said.left_out} more like it in the last {now - said.at:.0f} s)"
            record.args = ()
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[key] = _Said(now)
        return True
