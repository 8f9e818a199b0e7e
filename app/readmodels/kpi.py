"""The KPI rows of the HTTP API and the commands: sums over the counts of all partitions. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypedDict

from app.delivery.counts import Cell, Counts, cells, is_folded
from app.delivery.outcome import MARKET_PATTERN, Outcome
from app.delivery.partition_record import PartitionState

OUTCOMES: tuple[str, ...] = tuple(outcome.value for outcome in Outcome)

_MARKET = re.compile(MARKET_PATTERN[1:-1])
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class FilterError(ValueError):
    """A filter is not valid. The text names the parameter and the expected form."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which counts to include: first and last day (both included, UTC) and market. None: no limit."""

    first: str | None = None
    last: str | None = None
    market: str | None = None

    @classmethod
    def parse(cls, first: str | None = None, last: str | None = None, market: str | None = None) -> Filter:
        """A filter from a user's texts.

        Raises:
            FilterError: a day is not in ISO 8601, the first is after the last, or the market has a wrong form.
        """
        first, last = _day("from", first), _day("to", last)
        if first and last and first > last:
            raise FilterError(f"from ({first}) is after to ({last})")
        if market is not None and not _MARKET.fullmatch(market):
            raise FilterError("market must be 1 to 16 letters, digits or hyphens")
        return cls(first, last, market)

    def takes(self, cell: Cell) -> bool:
        """Whether the filter includes a number."""
        return self.takes_day(cell.day) and (self.market is None or cell.market == self.market)

    def takes_day(self, day: str) -> bool:
        """Whether the filter includes a day. ISO days sort as text."""
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)


class RecordRow(TypedDict):
    """Records (not events) of one entity and operation, for a day and market."""

    day: str
    market: str
    entity: str
    operation: str
    synced: int
    failed: int


class FailureRow(TypedDict):
    """Failures with one reason, for a day, market, entity and operation."""

    day: str
    market: str
    entity: str
    operation: str
    reason: str
    count: int


def daily(states: Mapping[int, PartitionState], chosen: Filter) -> list[dict[str, str | int]]:
    """Events per day and market, by outcome: ``{"day", "market", "synced", ... "discarded"}``."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for cell in _cells(states, chosen, "events"):
        row = sums.setdefault((cell.day, cell.market), dict.fromkeys(OUTCOMES, 0))
        if cell.key[0] in row:
            row[cell.key[0]] += cell.numbers[0]
    return [{"day": day, "market": market, **row} for (day, market), row in sorted(sums.items()) if any(row.values())]


def summed(rows: Sequence[Mapping[str, str | int]], dimensions: Sequence[str]) -> list[dict[str, str | int]]:
    """Daily rows, summed by some of ``day``, ``market`` and ``outcome``.

    With ``outcome`` each row has one outcome and its number of ``events``; without it each row has a number per
    outcome. Without any dimension there is one row, or none if there are no counts.

    >>> days = [{"day": "2026-01-30", "synced": 1}, {"day": "2026-01-31", "synced": 2}]
    >>> days = [dict.fromkeys(OUTCOMES, 0) | {"market": "DE"} | day for day in days]
    >>> summed(days, ["outcome"])
    [{'outcome': 'synced', 'events': 3}]
    """
    groups = [name for name in ("day", "market") if name in dimensions]
    sums: dict[tuple[str, ...], dict[str, int]] = {}
    for row in rows:
        group = sums.setdefault(tuple(str(row[name]) for name in groups), dict.fromkeys(OUTCOMES, 0))
        for outcome in OUTCOMES:
            group[outcome] += int(row[outcome])
    ordered = [(dict(zip(groups, key, strict=True)), numbers) for key, numbers in sorted(sums.items())]
    if "outcome" not in dimensions:
        return [{**key, **numbers} for key, numbers in ordered]
    return [
        {**key, "outcome": outcome, "events": number}
        for key, numbers in ordered
        for outcome, number in numbers.items()
        if number
    ]


def grouped(
    rows: Iterable[Mapping[str, Any]], dimensions: Sequence[str], numbers: Sequence[str]
) -> list[dict[str, str | int]]:
    """Rows of ``records`` or ``failures``, summed by ``dimensions``. ``numbers``: the fields to add.

    >>> grouped([{"market": "DE", "reason": "X", "count": 1}, {"market": "AT", "reason": "X", "count": 2}],
    ...         ["reason"], ["count"])
    [{'reason': 'X', 'count': 3}]
    """
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        group = sums.setdefault(tuple(str(row[name]) for name in dimensions), [0] * len(numbers))
        for place, name in enumerate(numbers):
            group[place] += row[name]
    return [
        {**dict(zip(dimensions, key, strict=True)), **dict(zip(numbers, group, strict=True))}
        for key, group in sorted(sums.items())
    ]


def records(states: Mapping[int, PartitionState], chosen: Filter) -> list[RecordRow]:
    """Records per day, market, entity and operation."""
    sums: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for cell in _cells(states, chosen, "records"):
        pair = sums[cell.day, cell.market, cell.key[0], cell.key[1]]
        pair[0] += cell.numbers[0]
        pair[1] += cell.numbers[1]
    return [
        RecordRow(day=day, market=market, entity=entity, operation=operation, synced=synced, failed=failed)
        for (day, market, entity, operation), (synced, failed) in sorted(sums.items())
        if synced or failed
    ]


def failures(states: Mapping[int, PartitionState], chosen: Filter) -> list[FailureRow]:
    """Failures per day, market, entity, operation and reason (a registry code)."""
    sums: dict[tuple[str, str, str, str, str], int] = defaultdict(int)
    for cell in _cells(states, chosen, "failures"):
        sums[cell.day, cell.market, cell.key[0], cell.key[1], cell.key[2]] += cell.numbers[0]
    return [
        FailureRow(day=day, market=market, entity=entity, operation=operation, reason=reason, count=count)
        for (day, market, entity, operation, reason), count in sorted(sums.items())
        if count
    ]


def folded(states: Mapping[int, PartitionState], chosen: Filter) -> bool:
    """Whether one of the days had too many markets, so that some events count as market ``other``."""
    return any(
        is_folded(markets)
        for state in states.values()
        for day, markets in state.counts.items()
        if chosen.takes_day(day)
    )


def totals(states: Mapping[int, PartitionState]) -> dict[str, int]:
    """Events by outcome, their sum (``events``), and the number of parked events (``parked``)."""
    sums = dict.fromkeys(OUTCOMES, 0)
    for cell in _cells(states, Filter(), "events"):
        if cell.key[0] in sums:
            sums[cell.key[0]] += cell.numbers[0]
    return {**sums, "events": sum(sums.values()), "parked": sum(len(state.parked) for state in states.values())}


def dry_run(states: Mapping[int, PartitionState]) -> bool:
    """Whether these are the counts of a dry run."""
    return any(bool(state.dry_run) for state in states.values())


def notes(states: Mapping[int, PartitionState], chosen: Filter | None = None) -> dict[str, bool]:
    """What qualifies the counts of a JSON answer: ``folded`` (rows of ``chosen``), ``dryRun``; each only if true."""
    found = {"folded": chosen is not None and folded(states, chosen), "dryRun": dry_run(states)}
    return {name: True for name, is_true in found.items() if is_true}


def _cells(states: Mapping[int, PartitionState], chosen: Filter, kind: str) -> Iterator[Cell]:
    counts: Iterable[Counts] = (state.counts for state in states.values())
    return (cell for cell in cells(counts) if cell.kind == kind and chosen.takes(cell))


def _day(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise FilterError(f"{name} must be a day such as 2026-01-31") from None
