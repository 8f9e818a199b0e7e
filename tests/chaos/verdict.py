"""The verdict on the evidence of a run: figures, and all violations of a promise. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.cmt.canary import PROBE_CONSUMER_ID
from app.delivery.outcome import Outcome
from app.profile.entities import Catalog, EntityType
from app.profile.holdings.projection import expected_rows
from tests.chaos.blows import Done
from tests.chaos.counts import Violation, wrong_counts
from tests.chaos.erased import erased
from tests.chaos.evidence import Evidence, Source, events_of, seconds, valid
from tests.chaos.held import Content, Held, Place, content_of
from tests.chaos.order import Explanation, Stamped, explain
from tests.chaos.recovery import Recovery, recovery_of
from tests.chaos.schedule import Blow, Deed
from tests.support.deployment import without_nulls
from tests.support.simulator_probe import Call

# A frozen worker's last call goes out at once when it is thawed; the simulator may take a while on a busy machine.
LATE_SECONDS = 3.0
# So long a target that had no packets, on a busy machine, may work on what came before and right after: by then its
# workers have given it up.
STRAY_SECONDS = 10.0
RECENT_KEPT = 5
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """One line of the table. ``outcomes``: events by outcome as the workers say; ``equal_writes``: of rows that were
    held already."""

    events: int
    outcomes: Mapping[str, int]
    lost: int
    order: int
    late: int
    count_error: int
    repeated_calls: int
    repeated_events: int
    repeated_dead_letters: int
    equal_writes: int
    rows_checked: int
    recovery: Recovery
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    figures: Figures
    violations: tuple[Violation, ...]


def judge(evidence: Evidence, catalog: Catalog) -> Verdict:
    """Check everything; no check is skipped because another one found a violation."""
    by_consumer: dict[str, list[Source]] = defaultdict(list)
    for source in evidence.sources:
        if source.consumer is not None:
            by_consumer[source.consumer].append(source)
    explained = _explained(evidence, by_consumer, catalog)
    lost = [
        *_missing_records(evidence),
        *(
            Violation("lost", f"{valid(by_consumer[consumer])[event].position} of {consumer}: its calls were not made")
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
        if call.consumer_id not in by_consumer and not _belongs_to_no_event(call)
    ]
    order += _late_together(explained)
    letters, repeated_letters = _dead_letters(evidence)
    counts = wrong_counts(evidence, by_consumer, explained, catalog)
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
        late=sum(len(explanation.late) for explanation in explained.values()),
        count_error=len(counts),
        repeated_calls=sum(explanation.repeated for explanation in explained.values()),
        repeated_events=sum(len(explanation.again) for explanation in explained.values()),
        repeated_dead_letters=repeated_letters,
        equal_writes=sum(explanation.equal for explanation in explained.values()),
        rows_checked=checked,
        recovery=recovery_of(evidence.done, evidence.calls, _partition_of(evidence.sources)),
        wall_seconds=evidence.wall_seconds,
    )
    return Verdict(figures, (*lost, *order, *counts, *others))


def together(run: Verdict, last_act: Verdict) -> Verdict:
    """The verdict on a run whose topic was recreated at the end. Figures are added up; the time is that of both."""
    one, other = run.figures, last_act.figures
    figures = replace(
        one,
        events=one.events + other.events,
        outcomes={name: number + other.outcomes[name] for name, number in one.outcomes.items()},
        lost=one.lost + other.lost,
        order=one.order + other.order,
        late=one.late + other.late,
        count_error=one.count_error + other.count_error,
        repeated_calls=one.repeated_calls + other.repeated_calls,
        repeated_events=one.repeated_events + other.repeated_events,
        repeated_dead_letters=one.repeated_dead_letters + other.repeated_dead_letters,
        equal_writes=one.equal_writes + other.equal_writes,
        rows_checked=one.rows_checked + other.rows_checked,
        wall_seconds=other.wall_seconds,
    )
    new = (Violation(one.what, f"topic recreated: {one.detail}") for one in last_act.violations)
    return Verdict(figures, (*run.violations, *new))


def _belongs_to_no_event(call: Call) -> bool:
    """Whether a call belongs to no event: workers also read column types and, in an outage, a key that cannot exist."""
    return call.operation == "Retrieve" and (call.consumer_id is None or call.consumer_id == PROBE_CONSUMER_ID)


def _partition_of(sources: Iterable[Source]) -> dict[str, int]:
    return {source.consumer: source.partition for source in sources if source.consumer is not None}


def _explained(
    evidence: Evidence, by_consumer: Mapping[str, Sequence[Source]], catalog: Catalog
) -> dict[str, Explanation]:
    thawed = [done.at for done in evidence.done if done.act.deed == "thaw"]
    dropped = _dropped(evidence.done)
    dead = {letter.source for letter in evidence.dead_letters}
    calls: dict[str, list[Stamped]] = defaultdict(list)
    for call in evidence.calls:
        at = seconds(call)
        freeze = next((n for n, thaw in enumerate(thawed) if thaw <= at < thaw + LATE_SECONDS), None)
        stray = call.operation == "Retrieve" and any(begin <= at < end for begin, end in dropped)
        calls[call.consumer_id or ""].append(Stamped(call, freeze, stray))
    found = {}
    for consumer, sources in by_consumer.items():
        given_up = frozenset(number for number, source in enumerate(valid(sources)) if source.position in dead)
        found[consumer] = explain(events_of(sources), calls[consumer], catalog, evidence.strategy, given_up)
    return found


def _dropped(done: Sequence[Done]) -> list[tuple[float, float]]:
    """When calls may have been given up because packets to the CMT were dropped."""
    found = []
    for number, begin in enumerate(done):
        if begin.act.deed is Deed.TAKE and begin.act.what is Blow.CMT_DROPPED:
            gives = (one.at for one in done[number:] if one.act.deed is Deed.GIVE and one.act.what is Blow.CMT_DROPPED)
            found.append((begin.at, next(gives, begin.at) + STRAY_SECONDS))
    return found


def _late_together(explained: Mapping[str, Explanation]) -> list[Violation]:
    """Violations by freezes with several late calls: a freeze may fall between a call's permit and its sending, but not
    for two calls."""
    freezes = Counter(freeze for explanation in explained.values() for freeze in explanation.late)
    return [
        Violation("order", f"{number} calls were sent by the worker that was thawed as number {freeze}")
        for freeze, number in freezes.items()
        if number > 1
    ]


def _missing_records(evidence: Evidence) -> list[Violation]:
    """Check that the main topic holds exactly the published events, as all other checks assume."""
    published = Counter(evidence.published)
    published.subtract(Counter((source.key, source.value) for source in evidence.sources))
    wrong = sum(abs(number) for number in published.values())
    return [Violation("lost", f"{wrong} records differ between what was published and the topic")] if wrong else []


def _dead_letters(evidence: Evidence) -> tuple[list[Violation], int]:
    """Check that each dead letter belongs to an event and holds its bytes, and that every invalid event has one. In a
    run without faults no other event may have one."""
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


def _rows(
    evidence: Evidence,
    by_consumer: Mapping[str, Sequence[Source]],
    explained: Mapping[str, Explanation],
    catalog: Catalog,
) -> tuple[list[Violation], int]:
    """Check the rows. If all events of a consumer were synced without a late call, they are what the events say;
    otherwise they are what the calls say."""
    dead = {letter.source for letter in evidence.dead_letters}
    checked = {
        consumer
        for consumer, sources in by_consumer.items()
        if not explained[consumer].failed
        and not explained[consumer].late
        and not any(source.position in dead for source in valid(sources))
    }
    events = [event for consumer in sorted(checked) for event in events_of(by_consumer[consumer])]
    expected = without_nulls(expected_rows(events, catalog))
    found = []
    for entity in EntityType:
        held = {key: row for key, row in evidence.rows.get(entity, {}).items() if key[0] in checked}
        for key in sorted(set(held) | set(expected[entity])):
            if held.get(key) != expected[entity].get(key):
                text = f"{entity.value} {key}: {held.get(key)} instead of {expected[entity].get(key)}"
                found.append(Violation("rows", text))
    for consumer in sorted(set(by_consumer) - checked):
        found += _rows_of_other_calls(evidence, consumer, explained[consumer].held, catalog)
    return found, len(checked)


def _rows_of_other_calls(evidence: Evidence, consumer: str, said: Held, catalog: Catalog) -> list[Violation]:
    actual: dict[Place, Content] = {
        (catalog[entity].customer_key, key): content_of(row)
        for entity, rows in evidence.rows.items()
        for key, row in rows.items()
        if key[0] == consumer
    }
    return [
        Violation("rows", f"{place}: {actual.get(place)}, which its calls do not explain")
        for place in sorted({*actual, *said.places()}, key=repr)
        if actual.get(place) not in said.of(place)
    ]


def _offsets(evidence: Evidence) -> list[Violation]:
    return [
        Violation("offsets", f"{topic} partition {partition}: committed {committed} of {end}")
        for topic, partitions in evidence.lags.items()
        for partition, (committed, end) in partitions.items()
    ]


def _consumers(evidence: Evidence, by_consumer: Mapping[str, Sequence[Source]]) -> list[Violation]:
    """Check that no consumer is parked, and that the recent events are the last ones, newest first, with outcomes."""
    dead = {letter.source for letter in evidence.dead_letters}
    closed = erased(evidence.sources, dead)
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
        # An invalid event does not wait for others, so its position may differ.
        workable = [source for source in recent if source is not None and source.event is not None]
        last = valid(sources)[::-1][: len(workable)]
        if None in recent or workable != last or len(recent) != min(RECENT_KEPT, len(by_id)):
            text = f"{consumer}: recent are {[entry['eventId'] for entry in view['recent']]}"
            found.append(Violation("consumer", f"{text}, its events end with {[s.event_id for s in sources[-5:]]}"))
        for entry in view["recent"]:
            source = by_id.get(entry["eventId"])
            if source is None:
                continue
            wanted = "superseded" if source.position in closed else None
            if entry["outcome"] != wanted and not _agrees(entry["outcome"], source, source.position in dead, evidence):
                found.append(Violation("consumer", f"{consumer}: {entry['eventId']} is said to be {entry['outcome']}"))
    return found


def _agrees(outcome: str, source: Source, dead: bool, evidence: Evidence) -> bool:
    if source.event is None:
        return outcome == "invalid"
    if dead:
        return outcome == "failed"
    return outcome == "synced" or (evidence.with_faults and outcome == "partial")
