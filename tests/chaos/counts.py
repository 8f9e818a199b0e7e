"""Whether the workers' numbers are right, as exactly as this can be known from outside. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.delivery.outcome import Outcome
from app.profile.entities import Catalog, EntityType
from app.profile.event import ProfileEvent
from app.profile.holdings.projection import Rows, apply
from tests.chaos.erased import erased
from tests.chaos.evidence import Evidence, Source, events_of, valid
from tests.chaos.order import Explanation


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: ``what`` is one of lost, order, count, rows, offsets, dead letter, consumer, worker."""

    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}"


def wrong_counts(
    evidence: Evidence,
    by_consumer: Mapping[str, Sequence[Source]],
    explained: Mapping[str, Explanation],
    catalog: Catalog,
) -> list[Violation]:
    """Totals, days, records and failures of every worker, as exactly as they can be known from outside."""
    invalid = [source for source in evidence.sources if source.event is None]
    dead = {letter.source for letter in evidence.dead_letters}
    closed = erased(evidence.sources, dead)
    open_invalid = [source for source in invalid if source.position not in closed]
    per_day = Counter((source.day, source.market) for source in evidence.sources)
    found: list[Violation] = []

    def expect(what: str, said: object, expected: object) -> None:
        if said != expected:
            found.append(Violation("count", f"{what}: {said} instead of {expected}"))

    for slot, answers in evidence.answers.items():
        who, totals = f"worker {slot}", answers.totals
        expect(f"{who}, events", totals["events"], len(evidence.sources))
        expect(f"{who}, sum of outcomes", sum(totals[outcome.value] for outcome in Outcome), totals["events"])
        expect(f"{who}, parked", totals["parked"], 0)
        expect(f"{who}, invalid", totals["invalid"], len(open_invalid))
        expect(f"{who}, failed and invalid", totals["failed"] + totals["invalid"], len(dead - closed))
        expect(f"{who}, superseded and discarded", totals["superseded"] + totals["discarded"], len(closed))
        days = {(row["day"], row["market"]): sum(row[outcome.value] for outcome in Outcome) for row in answers.daily}
        _compare(found, f"{who}, day and market", days, per_day)
        failures = {
            (row["day"], row["market"], row["operation"], row["reason"]): row["count"]
            for row in answers.failures
            if row["entity"] == "event"
        }
        reasons = Counter((s.day, s.market, s.operation, s.reason) for s in open_invalid)
        _compare(found, f"{who}, failures of invalid events", failures, reasons)
        if not evidence.with_faults:
            expect(f"{who}, synced", totals["synced"], len(evidence.sources) - len(invalid))
            expect(f"{who}, other failures", [row for row in answers.failures if row["entity"] != "event"], [])
            _records(found, who, answers.records, by_consumer, explained, catalog)
    if not evidence.answers:
        found.append(Violation("count", "no worker answers"))
    return found


def _compare(
    found: list[Violation],
    what: str,
    said: Mapping[Any, int],
    expected: Mapping[Any, int],
) -> None:
    found += [
        Violation("count", f"{what} {key}: {said.get(key, 0)} instead of {expected.get(key, 0)}")
        for key in sorted(set(said) | set(expected), key=repr)
        if said.get(key, 0) != expected.get(key, 0)
    ]


def _records(
    found: list[Violation],
    who: str,
    said: Sequence[Mapping[str, object]],
    by_consumer: Mapping[str, Sequence[Source]],
    explained: Mapping[str, Explanation],
    catalog: Catalog,
) -> None:
    """Check the records per entity and operation. If a DELETE of the profile was begun again, only the rows that its
    last attempt found are counted, so the numbers may be lower."""
    most: Counter[tuple[str, str, str, str]] = Counter()
    slack: Counter[tuple[str, str, str, str]] = Counter()
    for consumer, sources in by_consumer.items():
        held: Rows = {}
        events, again = events_of(sources), explained[consumer].again
        for number, (source, event) in enumerate(zip(valid(sources), events, strict=True)):
            where = (source.day, source.market)
            if event.deletes_profile:
                rows = {entity: len(held.get(entity, {})) for entity in EntityType if not entity.is_parent}
                rows[EntityType.CONSUMER] = 1
            else:
                rows = dict(Counter(entity for entity, _ in event.rows()))
                rows |= {EntityType.CONSUMER: 1} if event.consumer is not None else {}
            for entity, count in rows.items():
                key = (*where, entity.value, source.operation)
                most[key] += count
                if event.deletes_profile and not entity.is_parent and _perhaps_again(number, events, again):
                    slack[key] += count
            held = apply(held, event, catalog)
    got = {
        (str(row["day"]), str(row["market"]), str(row["entity"]), str(row["operation"])): (row["synced"], row["failed"])
        for row in said
    }
    for key in sorted(set(got) | set(most)):
        synced, failed = got.get(key, (0, 0))
        assert isinstance(synced, int)
        if failed or not most[key] - slack[key] <= synced <= most[key]:
            wanted = f"{most[key] - slack[key]} to {most[key]}" if slack[key] else f"{most[key]}"
            found.append(Violation("count", f"{who}, records {key}: {synced} synced, {failed} failed, not {wanted}"))


def _perhaps_again(number: int, events: Sequence[ProfileEvent], again: Collection[int]) -> bool:
    """Consecutive DELETEs of the profile have the same calls, so it is unknown which of them was begun again."""
    first, last = number, number
    while first > 0 and events[first - 1].deletes_profile:
        first -= 1
    while last + 1 < len(events) and events[last + 1].deletes_profile:
        last += 1
    return any(one in again for one in range(first, last + 1))
