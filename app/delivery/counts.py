"""The KPI counts: what a settled event adds to them, and how they are summed. Pure.

The counts of a partition stand in one Kafka record, nested by day and market:
``{day: {market: {"events": {outcome: n}, "records": {"entity|operation": [synced, failed]},
"failures": {"entity|operation|reason": n}}}}``. Every event is counted once, under its final outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.delivery import state_fields as fields
from app.delivery.outcome import Outcome, RecordCount
from app.delivery.state_fields import MalformedPart, members
from app.delivery.value_class import value_class

# Between the parts of a key in the counts.
SEPARATOR = "|"

# The "entity" of a failure that concerns the event as a whole (not decodable, no key ...).
EVENT_ENTITY = "event"

# A producer that invents markets must not fill the record. So the first 200 markets of a day on a partition are counted
# by name; later ones are counted together as ``OTHER_MARKETS``. The sums stay exact, only the names are lost.
MARKETS_PER_DAY = 200
OTHER_MARKETS = "other"

# Identifies a child row within its consumer: entity type, and the primary key as text without ``ConsumerId``.
RowKey = tuple[str, tuple[str, ...]]

MarketCounts = dict[str, dict[str, int | list[int]]]
DayCounts = dict[str, MarketCounts]
Counts = dict[str, DayCounts]


@value_class(frozen=True, slots=True)
class FailureCount:
    """``count`` records of ``entity`` failed for ``reason`` (a registry code)."""

    entity: str
    reason: str
    count: int = 1


@value_class(frozen=True, slots=True)
class Settlement:
    """What the counts and the consumer record need to know about a settled event.

    Raises:
        ValueError: an operation, entity or reason holds the separator of the counts' keys. The record could be written,
            but not be read again.
    """

    consumer_id: str | None
    event_id: str
    operation: str
    market: str
    day: str
    outcome: Outcome
    reason: str | None = None
    attempts: int = 1
    full_state: bool = False
    records: tuple[RecordCount, ...] = ()
    failures: tuple[FailureCount, ...] = ()
    deleted: tuple[RowKey, ...] = ()  # rows that a DELETE of single rows removed
    rows: str = ""  # the rows that should be held if the event reached Marketing Cloud (row_list.py)
    erases: bool = False  # the consumer's whole profile was deleted: its older dead letters must be closed

    def __post_init__(self) -> None:
        if SEPARATOR in self.operation:
            raise ValueError(f"an operation must not hold {SEPARATOR!r}: {self.operation!r}")
        for record in self.records:
            if SEPARATOR in record.entity:
                raise ValueError(f"an entity must not hold {SEPARATOR!r}: {record.entity!r}")
        for failure in self.failures:
            if SEPARATOR in failure.entity or SEPARATOR in failure.reason:
                raise ValueError(f"an entity or reason must not hold {SEPARATOR!r}: {failure}")


def read_settlement(document: Any) -> Settlement:
    """Read a settlement from a durable record.

    Raises:
        MalformedPart, KeyError, TypeError, ValueError: not a settlement.
    """
    given = dict(members(document))
    for name in ("event_id", "operation", "market", "rows"):
        fields.text(given.get(name, ""))
    for name in ("consumer_id", "reason"):
        fields.optional(given[name], fields.text)
    fields.day(given["day"])
    fields.number(given["attempts"])
    fields.flag(given["full_state"])
    fields.flag(given.get("erases", False))
    given["outcome"] = Outcome(fields.text(given["outcome"]))
    given["records"] = tuple(fields.entries(given["records"], _record_count))
    given["failures"] = tuple(fields.entries(given["failures"], _failure_count))
    given["deleted"] = tuple(fields.entries(given["deleted"], _deleted_row))
    return Settlement(**given)


def _record_count(document: Any) -> RecordCount:
    given = members(document)
    return RecordCount(fields.text(given["entity"]), fields.number(given["synced"]), fields.number(given["failed"]))


def _failure_count(document: Any) -> FailureCount:
    given = members(document)
    return FailureCount(fields.text(given["entity"]), fields.text(given["reason"]), fields.number(given["count"]))


def _deleted_row(pair: Any) -> RowKey:
    entity, key = pair
    return fields.text(entity), tuple(fields.entries(key, fields.text))


def fold(counts: Counts, settled: Settlement, sign: int = 1) -> None:
    """Add a settled event to ``counts`` in place; ``sign=-1`` removes it again (a redrive).

    A number may become negative: the event was counted in the document of a closed day.
    """
    day = counts.setdefault(settled.day, {})
    market = day.setdefault(_counted_as(settled.market, day), {})
    _add(market.setdefault("events", {}), settled.outcome.value, sign)
    records = market.setdefault("records", {})
    for record in settled.records:
        key = f"{record.entity}|{settled.operation}"
        pair = records.setdefault(key, [0, 0])
        assert isinstance(pair, list)
        pair[0] += sign * record.synced
        pair[1] += sign * record.failed
        if pair == [0, 0]:
            del records[key]
    failures = market.setdefault("failures", {})
    for failure in settled.failures:
        _add(failures, f"{failure.entity}|{settled.operation}|{failure.reason}", sign * failure.count)


def counted_as_before(settlement: Settlement, before: Settlement) -> Settlement:
    """How an event counts when it is settled again: under the day and the market of the first time."""
    return replace(settlement, day=before.day, market=before.market)


def _counted_as(market: str, day: DayCounts) -> str:
    """The market name under which an event of ``market`` is counted."""
    if market in day or len(day) < MARKETS_PER_DAY or _named(day) < MARKETS_PER_DAY:
        return market
    return OTHER_MARKETS


def _named(day: DayCounts) -> int:
    return len(day) - (OTHER_MARKETS in day)


def is_folded(day: DayCounts) -> bool:
    """Whether some markets are counted as ``OTHER_MARKETS``: then a market's own numbers may be incomplete."""
    return OTHER_MARKETS in day and _named(day) >= MARKETS_PER_DAY


def read_counts(document: Any) -> Counts:
    """Read counts from a durable record, with at most ``MARKETS_PER_DAY`` markets per day.

    Raises:
        MalformedPart: not counts.
    """
    for day, markets in members(document).items():
        fields.day(day)
        for kinds in members(markets).values():
            for kind, numbers in members(kinds).items():
                for key, value in members(numbers).items():
                    _check_number(kind, key, value)
    return within_limits(document)


def _check_number(kind: str, key: str, value: Any) -> None:
    if kind == "records":
        if len(fields.entries(value, _count)) != 2 or key.count("|") != 1:
            raise MalformedPart("expected counts of records")
    elif _count(value) and kind == "failures" and key.count("|") != 2:
        raise MalformedPart("expected counts of failures")


def _count(value: Any) -> int:
    """A count in a record. It is negative if a redrive takes an event out of the document of a closed day."""
    return fields.number(value, -fields.LARGEST)


def within_limits(counts: Counts) -> Counts:
    """The same counts with at most ``MARKETS_PER_DAY`` markets per day; records of older programs may have more."""
    return {
        day: markets if _named(markets) <= MARKETS_PER_DAY else added({day: {}}, {day: markets})[day]
        for day, markets in counts.items()
    }


def _add(numbers: dict[str, int | list[int]], key: str, n: int) -> None:
    before = numbers.get(key, 0)
    assert isinstance(before, int)
    if before + n:
        numbers[key] = before + n
    else:
        numbers.pop(key, None)


def copied(day: DayCounts) -> DayCounts:
    """A copy of a day's counts that can be changed without changing the original."""
    return {
        market: {
            kind: {key: list(n) if isinstance(n, list) else n for key, n in entries.items()}
            for kind, entries in kinds.items()
        }
        for market, kinds in day.items()
    }


def added(one: Counts, other: Counts) -> Counts:
    """The sum of both; neither is changed. A day that only one of them has is shared, not copied."""
    total = {**one, **other}
    for day in one.keys() & other.keys():
        total[day] = copied(one[day])
        for market, kinds in other[day].items():
            name = _counted_as(market, total[day])
            for kind, entries in kinds.items():
                sums = total[day].setdefault(name, {}).setdefault(kind, {})
                for key, value in entries.items():
                    before = sums.get(key)
                    if isinstance(value, list):
                        pair = before if isinstance(before, list) else [0, 0]
                        sums[key] = [pair[0] + value[0], pair[1] + value[1]]
                        if sums[key] == [0, 0]:
                            del sums[key]
                    else:
                        _add(sums, key, value)
    return total


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of the counts, with everything it is filed under."""

    day: str
    market: str
    kind: str  # events, records or failures
    key: tuple[str, ...]
    numbers: tuple[int, ...]


def cells(counts: Iterable[Counts]) -> Iterator[Cell]:
    """All entries of several partitions' counts, one by one."""
    for one in counts:
        for day, markets in one.items():
            for market, kinds in markets.items():
                for kind, entries in kinds.items():
                    for key, value in entries.items():
                        numbers = tuple(value) if isinstance(value, list) else (value,)
                        yield Cell(day, market, kind, tuple(key.split("|")), numbers)
