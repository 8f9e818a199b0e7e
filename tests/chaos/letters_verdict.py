"""The verdict on a run of the deck "letters". Pure.

Every event has exactly one outcome, and the counts say the same as the dead-letter records. The rows are those of the
newest event that was written. Nothing was handled twice by one task, and nothing is left in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.delivery.dead_letter_record import DeadLetter, LetterStatus
from app.delivery.letter_id import LetterId
from app.delivery.outcome import Outcome
from app.delivery.partition_record import PartitionState
from app.readmodels.tasks import TaskState
from tests.chaos.counts import Violation
from tests.chaos.evidence import Source

OVER = (TaskState.DONE, TaskState.CANCELLED)
REACHED = (Outcome.SYNCED, Outcome.PARTIAL)


@dataclass(frozen=True, slots=True)
class LettersEvidence:
    """What is there at rest.

    ``totals``: of each worker. ``parents``, ``pets``: consumer -> mark of the row that is held. ``tasks``: ID -> state.
    ``published``: how many events were.
    """

    published: int
    sources: Sequence[Source]
    letters: Mapping[LetterId, DeadLetter]
    states: Mapping[int, PartitionState]
    totals: Mapping[int, Mapping[str, int]]
    parents: Mapping[str, str]
    pets: Mapping[str, str]
    tasks: Mapping[str, TaskState]
    remarks: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class LettersVerdict:
    """``handled``: how often dead letters were handled by a task."""

    events: int
    letters: int
    handled: int
    outcomes: Mapping[str, int]
    violations: Sequence[Violation]

    def number(self, what: str) -> int:
        """How many violations of a kind there are."""
        return sum(violation.what == what for violation in self.violations)


def judge(evidence: LettersEvidence) -> LettersVerdict:
    """The verdict."""
    outcomes = {source.position: _outcome(source, evidence) for source in evidence.sources}
    handled = [line.task for letter in evidence.letters.values() for line in letter.history if line.task]
    violations = [
        *_lost(evidence),
        *_counts(evidence, outcomes),
        *_rows(evidence, outcomes),
        *_handled_twice(evidence),
        *_stuck(evidence),
        *(Violation("worker", remark) for remark in evidence.remarks),
    ]
    counted = Counter(outcome.value for outcome in outcomes.values())
    return LettersVerdict(len(outcomes), len(evidence.letters), len(handled), counted, violations)


def _outcome(source: Source, evidence: LettersEvidence) -> Outcome:
    """How an event ended, as its dead-letter record says; an event without one was synced."""
    letter = evidence.letters.get(LetterId(source.partition, source.offset))
    return Outcome.SYNCED if letter is None else letter.settlement.outcome


def _lost(evidence: LettersEvidence) -> list[Violation]:
    found = []
    if evidence.published != len(evidence.sources):
        found.append(Violation("lost", f"{evidence.published} published, {len(evidence.sources)} in the topic"))
    of_events = {LetterId(*source.position) for source in evidence.sources}
    needless = [letter for letter in evidence.letters if letter not in of_events]
    invalid = [LetterId(*source.position) for source in evidence.sources if source.event is None]
    missing = [letter for letter in invalid if letter not in evidence.letters]
    found += [Violation("dead letter", f"{letter} belongs to no event") for letter in needless]
    return found + [Violation("lost", f"{letter} is invalid and has no dead letter") for letter in missing]


def _counts(evidence: LettersEvidence, outcomes: Mapping[tuple[int, int], Outcome]) -> list[Violation]:
    found = []
    wanted = Counter(outcome.value for outcome in outcomes.values())
    for slot, totals in evidence.totals.items():
        said = {outcome.value: totals[outcome.value] for outcome in Outcome if totals[outcome.value]}
        if said != dict(wanted):
            found.append(Violation("count", f"worker {slot}: {said} instead of {dict(wanted)}"))
    is_open = Counter(
        letter.settlement.reason for letter in evidence.letters.values() if letter.status is LetterStatus.OPEN
    )
    gauges: Counter[str | None] = Counter()
    for state in evidence.states.values():
        gauges.update(state.dead_letters)
    if gauges != is_open:
        found.append(Violation("count", f"open dead letters: {dict(gauges)} instead of {dict(is_open)}"))
    return found


def _rows(evidence: LettersEvidence, outcomes: Mapping[tuple[int, int], Outcome]) -> list[Violation]:
    """Compare the held rows with the newest event of each consumer that was written."""
    newest: dict[str, Source] = {}
    for source in evidence.sources:
        if source.event is not None and outcomes[source.position] in REACHED:
            consumer = source.event.consumer_id
            if consumer not in newest or newest[consumer].offset < source.offset:
                newest[consumer] = source
    found = []
    for consumer, source in newest.items():
        assert source.event is not None
        mark = None if source.event.deletes_profile else source.event_id
        said = (evidence.parents.get(consumer), evidence.pets.get(consumer))
        if said != (mark, mark):
            found.append(Violation("order", f"{consumer}: holds {said}, its newest written event is {source.event_id}"))
    others = sorted((evidence.parents.keys() | evidence.pets.keys()) - newest.keys())
    return found + [Violation("order", f"{consumer}: holds rows, but nothing of it was written") for consumer in others]


def _handled_twice(evidence: LettersEvidence) -> list[Violation]:
    found = []
    for letter, record in evidence.letters.items():
        tasks = Counter(line.task for line in record.history if line.task)
        found += [Violation("task", f"{letter} was handled {n} times by {task}") for task, n in tasks.items() if n > 1]
    return found


def _stuck(evidence: LettersEvidence) -> list[Violation]:
    found = []
    for number, state in evidence.states.items():
        left = [*state.readmitted, *state.verdicts, *state.parked, *state.erasing]
        if left:
            found.append(Violation("stuck", f"partition {number}: {left[:5]} is still in between"))
    over = (TaskState.DONE, TaskState.CANCELLED)
    found += [
        Violation("stuck", f"task {task} is {state}") for task, state in evidence.tasks.items() if state not in over
    ]
    return found
