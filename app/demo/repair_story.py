"""What the demo does and reports in the scenario "repair", and when. Pure: it gets one look after the other.

flowing --the first part is settled--> refusing --the second part is settled, an incident is open--> redriving
   '--no event can be refused: missed                    the command has ended, no dead letter is open,   |
                                                         the incident is resolved--> over  <--------------'
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.delivery.outcome import Outcome
from app.demo.repair_plan import COLUMN, RepairPlan, redrive_arguments

# An incident is opened and resolved within seconds. What has not happened after this time counts as a problem.
PATIENCE_SECONDS = 60.0


class Step(StrEnum):
    """What the demo has to do now."""

    NOTHING = "nothing"
    REFUSE = "refuse"  # make the column too short
    CORRECT = "correct"  # make it long enough again, and redrive


@dataclass(frozen=True, slots=True)
class LetterIncident:
    """An incident about the dead letters."""

    number: str
    resolved: bool


@dataclass(frozen=True, slots=True)
class RepairLook:
    """What is observed at one time. None: a worker did not answer, or has not read everything.

    ``settled``: events that every worker knows as settled. ``failed``: events that some worker still counts as failed.
    ``superseded``: events that every worker counts as superseded. ``open``: open dead letters. ``exit_code``: of the
    redrive command, once it has ended. ``outcomes``: its dead letters by outcome.
    """

    now: float
    settled: int | None
    failed: int | None
    superseded: int | None
    open: int | None
    all_settled: bool
    incidents: Sequence[LetterIncident] = ()
    exit_code: int | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class RepairStory:
    """The repair so far. Times are those of the looks. ``missed``: no event could be refused.

    ``failed_before``: events that counted as failed, and ``letters_before``: open dead letters, before the redrive.
    ``superseded``: events that were not written in the end: the redrive skipped them because of a later event, or the
    profile was deleted.
    """

    plan: RepairPlan
    refused_at: float | None = None
    settled_at: float | None = None
    corrected_at: float | None = None
    redriven_at: float | None = None
    failed_before: int = 0
    letters_before: int = 0
    failed_after: int | None = None
    letters_after: int | None = None
    superseded: int = 0
    exit_code: int | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)
    resolved: bool = False
    missed: bool = False
    over: bool = False
    _incident: str = ""

    @property
    def mended(self) -> int:
        """Dead letters whose events were written in the end."""
        return sum(self.outcomes.get(outcome, 0) for outcome in (Outcome.SYNCED, Outcome.PARTIAL))

    def may_publish(self, events: int) -> int:
        """How many of ``events`` sample events may be published so far."""
        if self.missed or self.corrected_at is not None:
            return events
        return self.plan.break_at if self.refused_at is None else self.plan.correct_at

    def step(self, look: RepairLook) -> Step:
        """What it is time to do."""
        if self.over or look.settled is None:
            return Step.NOTHING
        if self.refused_at is None:
            due = self.plan.letters and look.settled >= self.plan.break_at
            return Step.REFUSE if due else Step.NOTHING
        if self.corrected_at is None and self.settled_at is not None:
            waited = look.now > self.settled_at + PATIENCE_SECONDS
            ready = self._incident and look.open is not None and look.open >= self.plan.letters
            return Step.CORRECT if ready or waited else Step.NOTHING
        return Step.NOTHING

    def refuse(self, look: RepairLook) -> str:
        """Note that rows are refused from this look on; returns the report."""
        self.refused_at = look.now
        return f"Column {COLUMN} is too short now; rows of {_consumers(len(self.plan.consumers))} are refused"

    def correct(self, look: RepairLook) -> list[str]:
        """Note that the cause is gone and the redrive runs from this look on; returns the reports."""
        self.corrected_at = look.now
        self.failed_before, self.letters_before = look.failed or 0, look.open or 0
        return [
            f"{_letters(self.letters_before)} open; all other events are settled",
            "The column is long enough again. An operator types:",
            f"profile-sync {shlex.join(redrive_arguments())}",
        ]

    def observe(self, look: RepairLook) -> list[str]:
        """The new reports after this look."""
        if self.over:
            return []
        if self.refused_at is None:
            return self._miss(look)
        if self.settled_at is None and (look.settled or 0) >= self.plan.correct_at:
            self.settled_at = look.now
        told = self._first_incident(look)
        if self.corrected_at is not None:
            told += self._redrive(look)
            told += self._end(look)
        return told

    def _miss(self, look: RepairLook) -> list[str]:
        if self.missed or self.plan.letters:
            self.over = self.missed and look.all_settled
            return []
        self.missed = True
        return ["None of the events can be refused"]

    def _first_incident(self, look: RepairLook) -> list[str]:
        if self._incident or not look.incidents:
            return []
        self._incident = look.incidents[0].number
        return [f"ServiceNow: {self._incident} is open"]

    def _redrive(self, look: RepairLook) -> list[str]:
        if self.redriven_at is not None or look.exit_code is None:
            return []
        self.redriven_at, self.exit_code = look.now, look.exit_code
        return [f"The command ends with exit code {look.exit_code}"]

    def _end(self, look: RepairLook) -> list[str]:
        if self.redriven_at is None or not look.all_settled:
            return []
        self.failed_after, self.letters_after, self.outcomes = look.failed, look.open, dict(look.outcomes)
        self.superseded = look.superseded or 0
        self.resolved = bool(look.incidents) and all(incident.resolved for incident in look.incidents)
        counted = look.failed == 0 and look.open == 0 and self.mended + self.superseded >= self.letters_before
        if not (counted and self.resolved) and look.now <= self.redriven_at + PATIENCE_SECONDS:
            return []
        self.over = True
        return [
            f"{_letters(look.open or 0)} open: {self.mended:,} redriven, {self.superseded:,} superseded",
            f"Failed events: {self.failed_before:,} before, {look.failed or 0:,} now",
            f"ServiceNow: {self._incident or 'no incident'} is {'' if self.resolved else 'not '}resolved",
        ]


def _letters(number: int) -> str:
    return f"{number:,} dead letter{' is' if number == 1 else 's are'}"


def _consumers(number: int) -> str:
    return f"{number:,} consumer{'' if number == 1 else 's'}"
