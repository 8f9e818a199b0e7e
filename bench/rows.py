"""The rows of the side-by-side table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import java_program
from bench.site import IN_FLIGHT

# Slow rows get fewer events: a row should take seconds, not minutes.
EVENTS = 12_000


def _module(name: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-m", name]


def _worker() -> list[str]:
    return [sys.executable, "-P", "-m", "app", "worker"]


@dataclass(frozen=True, slots=True)
class Row:
    """One program at one latency of the target.

    ``share``: events relative to the other rows. ``command``: may raise ``JavaMissing``. ``worker``: whether it has a
    worker's API. ``pipeline``: whether it makes SOAP calls to its own stub, which gives Marketing Cloud's answer.
    ``processes``: how many processes share the partitions and the calls. ``in_flight``: calls at the same time, of all
    processes together.
    """

    letter: str
    what: str
    milliseconds: int
    share: float
    command: Callable[[], list[str]]
    worker: bool = False
    pipeline: bool = False
    processes: int = 1
    in_flight: int = IN_FLIGHT

    @property
    def name(self) -> str:
        """The name of the row, such as ``b50``."""
        return f"{self.letter}{self.milliseconds}"


_FLOOR = "aiokafka + aiohttp, key lanes"
_ENGINE = "the engine, everything durable"
_FAUST = "plain Faust, async for"
_PARALLEL = "Confluent Parallel Consumer, KEY"
_WORKER = "the worker, SOAP client"
_TWO = "two workers, SOAP client"
_HALF = f"the worker, SOAP client, {IN_FLIGHT // 2} in flight"

ROWS: Sequence[Row] = (
    Row("a", _FLOOR, 5, 2, _module("bench.programs.floor")),
    Row("b", _ENGINE, 5, 1, _module("bench.programs.engine"), worker=True),
    Row("c", _FAUST, 5, 1 / 8, _module("bench.programs.plain_faust")),
    Row("d", _PARALLEL, 5, 1, java_program.command),
    Row("e", _WORKER, 5, 1, _worker, worker=True, pipeline=True),
    Row("f", _TWO, 5, 2, _worker, worker=True, pipeline=True, processes=2),
    Row("a", _FLOOR, 50, 1, _module("bench.programs.floor")),
    Row("b", _ENGINE, 50, 1, _module("bench.programs.engine"), worker=True),
    Row("d", _PARALLEL, 50, 1, java_program.command),
    Row("e", _WORKER, 50, 1, _worker, worker=True, pipeline=True),
    Row("f", _TWO, 50, 2, _worker, worker=True, pipeline=True, processes=2),
    Row("g", _HALF, 50, 1 / 2, _worker, worker=True, pipeline=True, in_flight=IN_FLIGHT // 2),
)


def selected(names: Sequence[str]) -> list[Row]:
    """The rows of these letters (``b``) or names (``b50``); all rows if none is given.

    Raises:
        ValueError: there is no such row.
    """
    known = {row.letter for row in ROWS} | {row.name for row in ROWS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no row {', '.join(unknown)}; there are {', '.join(row.name for row in ROWS)}")
    return [row for row in ROWS if not names or row.letter in names or row.name in names]
