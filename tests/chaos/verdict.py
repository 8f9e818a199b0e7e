"""What the evidence of a run comes to: figures, and everything that breaks a promise. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.entities import Catalog, EntityType
from app.domain.event import ProfileEvent
from app.domain.outcome import Outcome
from app.domain.projection import Rows, apply, expected_rows
from tests.chaos.evidence import Evidence, Source, seconds
from tests.chaos.order import Explanation, Stamped, explain
from tests.chaos.recovery import Recovery, recovery_of
from tests.integration.worker.deployment import without_nulls

# A frozen worker's last call goes out at once when it is thawed; the simulator may take a while on a busy machine.
LATE_SECONDS = 3.0
RECENT_KEPT = 5
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: ``what`` is one of lost, order, count, rows, offsets, dead letter, consumer, worker."""

    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Figures:
    """One line of the table. ``outcomes``: events by outcome as the workers say."""

    events: int
    outcomes: Mapping[str, int]
    lost: int
    order: int
    late: int
    count_error: int
    repeated_calls: int
    repeated_events: int
    repeated_dead_letters: int
    rows_checked: int
    recovery: Recovery
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    figures: Figures
    violations: tuple[Violation, ...]


def judge(evidence: Evidence, catalog: Catalog) -> Verdict:
    """Look at everything; nothing is left out because something else was found wrong."""
    by_consumer: dict[str, list[Source]] = defaultdict(list)
    for source in evidence.sources:
        if source.consumer is not None:
            by_consumer[source.consumer].append(source)
    explained = _explained(evidence, by_consumer, catalog)
    lost = [
        *_missing_records(evidence),
        *(
            Violation("lost", f"{_valid(by_consumer[consumer])[event].position} of {consumer}: its calls were not made")
            for consumer, explanation in explained.items()
            for event in explanation.lost
        ),
    ]
    order = [
        Violation("order", f"{consumer}: {call} (number {call.seq}, {call.at}) fits no order of its events")
        for consumer, explanation in explained.items()
        for call in explanation.violations
    ]
    order += [
        Violation("order", f"{call} (number {call.seq}) concerns {call.consumer_id}, of whom there is no event")
        for call in evidence.calls
        if call.consumer_id not in by_consumer
    ]
    letters, repeated_letters = _dead_letters(evidence)
    counts = _counts(evidence, by_consumer, explained, catalog)
    rows, checked = _rows(evidence, by_consumer, explained, catalog)
    others = [
        *letters,
        *rows,
        *_offsets(evidence),
        *_consumers(evidence, by_consumer),
        *(Violation("worker", remark) for remark in evidence.remarks),
    ]
    totals: Mapping[str, int] = next((answers.totals for answers in evidence.answers.values()), {})
    figures = Figures(
        events=len(evidence.sources),
        outcomes={outcome.value: totals.get(outcome.value, 0) for outcome in Outcome},
        lost=len(lost),
        order=len(order),
        late=sum(explanation.late for explanation in explained.values()),
        count_error=len(counts),
        repeated_calls=sum(explanation.repeated for explanation in explained.values()),
        repeated_events=sum(len(explanation.again) for explanation in explained.values()),
        repeated_dead_letters=repeated_letters,
        rows_checked=checked,
        recovery=recovery_of(evidence.done, evidence.calls, _partition_of(evidence.sources)),
        wall_seconds=evidence.wall_seconds,
    )
    return Verdict(figures, (*lost, *order, *counts, *others))


def _valid(sources: Iterable[Source]) -> list[Source]:
    return [source for source in sources if source.event is not None]


def _events(sources: Iterable[Source]) -> list[ProfileEvent]:
    return [source.event for source in sources if source.event is not None]


def _partition_of(sources: Iterable[Source]) -> dict[str, int]:
    return {source.consumer: source.partition for source in sources if source.consumer is not None}


def _explained(
    evidence: Evidence, by_consumer: Mapping[str, Sequence[Source]], catalog: Catalog
) -> dict[str, Explanation]:
    thawed = [done.at for done in evidence.done if done.act.deed == "thaw"]
    dead = {letter.source for letter in evidence.dead_letters}
    calls: dict[str, list[Stamped]] = defaultdict(list)
    for call in evidence.calls:
        at = seconds(call)
        freeze = next((n for n, thaw in enumerate(thawed) if thaw <= at < thaw + LATE_SECONDS), None)
        calls[call.consumer_id or ""].append(Stamped(call, freeze))
    found = {}
    for consumer, sources in by_consumer.items():
        valid = _valid(sources)
        given_up = frozenset(number for number, source in enumerate(valid) if source.position in dead)
        found[consumer] = explain(_events(valid), calls[consumer], catalog, given_up)
    return found


def _missing_records(evidence: Evidence) -> list[Violation]:
    """The main topic holds what was published, and that only; else the other checks are about something else."""
    published = Counter(evidence.published)
    published.subtract(Counter((source.key, source.value) for source in evidence.sources))
    wrong = sum(abs(number) for number in published.values())
    return [Violation("lost", f"{wrong} records differ between what was published and the topic")] if wrong else []


def _dead_letters(evidence: Evidence) -> tuple[list[Violation], int]:
    """Each belongs to an event and holds its bytes; every invalid event has one, without faults nobody else."""
    sources = {source.position: source for source in evidence.sources}
    found: list[Violation] = []
    for letter in evidence.dead_letters:
        source = sources.get(letter.source)
        if source is None:
            found.append(Violation("dead letter", f"{letter.source} is no event"))
        elif (source.key, source.value) != (letter.key, letter.value):
            found.append(Violation("dead letter", f"{letter.source}: not the key and value of the event"))
    distinct = {letter.source for letter in evidence.dead_letters}
    invalid = {source.position for source in evidence.sources if source.event is None}
    found += [Violation("lost", f"{one} is invalid and has no dead letter") for one in sorted(invalid - distinct)]
    if not evidence.with_faults:
        needless = sorted((distinct - invalid) & set(sources))
        found += [Violation("dead letter", f"{one} has one, though nothing was wrong with it") for one in needless]
    return found, len(evidence.dead_letters) - len(distinct)


def _counts(
    evidence: Evidence,
    by_consumer: Mapping[str, Sequence[Source]],
    explained: Mapping[str, Explanation],
    catalog: Catalog,
) -> list[Violation]:
    """Totals, days, records and failures of every worker, as exactly as they can be known from outside."""
    invalid = [source for source in evidence.sources if source.event is None]
    letters = len({letter.source for letter in evidence.dead_letters})
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
        expect(f"{who}, invalid", totals["invalid"], len(invalid))
        expect(f"{who}, failed and invalid", totals["failed"] + totals["invalid"], letters)
        expect(f"{who}, superseded and discarded", totals["superseded"] + totals["discarded"], 0)
        days = {(row["day"], row["market"]): sum(row[outcome.value] for outcome in Outcome) for row in answers.daily}
        _compare(found, f"{who}, day and market", days, per_day)
        failures = {
            (row["day"], row["market"], row["operation"], row["reason"]): row["count"]
            for row in answers.failures
            if row["entity"] == "event"
        }
        reasons = Counter((s.day, s.market, s.operation, s.reason) for s in invalid)
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
    """Records per entity and operation. Of a DELETE of the profile that was begun again, only the rows that the last
    attempt still found are counted: so many fewer there may be."""
    most: Counter[tuple[str, str, str, str]] = Counter()
    slack: Counter[tuple[str, str, str, str]] = Counter()
    for consumer, sources in by_consumer.items():
        held: Rows = {}
        events, again = _events(sources), explained[consumer].again
        for number, (source, event) in enumerate(zip(_valid(sources), events, strict=True)):
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
    """Of DELETEs of the profile in a row, which have the same calls, it cannot be said which was begun again."""
    first, last = number, number
    while first > 0 and events[first - 1].deletes_profile:
        first -= 1
    while last + 1 < len(events) and events[last + 1].deletes_profile:
        last += 1
    return any(one in again for one in range(first, last + 1))


def _rows(
    evidence: Evidence,
    by_consumer: Mapping[str, Sequence[Source]],
    explained: Mapping[str, Explanation],
    catalog: Catalog,
) -> tuple[list[Violation], int]:
    """The rows of every consumer whose events were all synced; excepted are those who had a late call."""
    dead = {letter.source for letter in evidence.dead_letters}
    checked = {
        consumer
        for consumer, sources in by_consumer.items()
        if not explained[consumer].failed
        and not explained[consumer].late
        and not any(source.position in dead for source in _valid(sources))
    }
    events = [event for consumer in sorted(checked) for event in _events(by_consumer[consumer])]
    expected = without_nulls(expected_rows(events, catalog))
    found = []
    for entity in EntityType:
        held = {key: row for key, row in evidence.rows.get(entity, {}).items() if key[0] in checked}
        for key in sorted(set(held) | set(expected[entity])):
            if held.get(key) != expected[entity].get(key):
                text = f"{entity.value} {key}: {held.get(key)} instead of {expected[entity].get(key)}"
                found.append(Violation("rows", text))
    return found, len(checked)


def _offsets(evidence: Evidence) -> list[Violation]:
    return [
        Violation("offsets", f"{topic} partition {partition}: committed {committed} of {end}")
        for topic, partitions in evidence.lags.items()
        for partition, (committed, end) in partitions.items()
    ]


def _consumers(evidence: Evidence, by_consumer: Mapping[str, Sequence[Source]]) -> list[Violation]:
    """Nobody is parked; the recent events are the last ones, newest first, each with the outcome that it has."""
    dead = {letter.source for letter in evidence.dead_letters}
    found = []
    for consumer, sources in by_consumer.items():
        view = evidence.consumers.get(consumer)
        if view is None:
            found.append(Violation("consumer", f"{consumer} is unknown"))
            continue
        if view["parked"]:
            found.append(Violation("consumer", f"{consumer} is parked: {view['parked']}"))
        by_id = {source.event_id: source for source in sources}
        recent = [by_id.get(entry["eventId"]) for entry in view["recent"]]
        # An invalid event waits for nobody, so it may stand elsewhere among them.
        valid = [source for source in recent if source is not None and source.event is not None]
        last = _valid(sources)[::-1][: len(valid)]
        if None in recent or valid != last or len(recent) != min(RECENT_KEPT, len(by_id)):
            text = f"{consumer}: recent are {[entry['eventId'] for entry in view['recent']]}"
            found.append(Violation("consumer", f"{text}, its events end with {[s.event_id for s in sources[-5:]]}"))
        for entry in view["recent"]:
            source = by_id.get(entry["eventId"])
            if source is not None and not _agrees(entry["outcome"], source, source.position in dead, evidence):
                found.append(Violation("consumer", f"{consumer}: {entry['eventId']} is said to be {entry['outcome']}"))
    return found


def _agrees(outcome: str, source: Source, dead: bool, evidence: Evidence) -> bool:
    if source.event is None:
        return outcome == "invalid"
    if dead:
        return outcome == "failed"
    return outcome == "synced" or (evidence.with_faults and outcome == "partial")
