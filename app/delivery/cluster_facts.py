"""What is known of a pipeline and its workers, and the form of the judgement on it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.delivery.expiring_values import ExpiringValues
from app.delivery.worker_status import WorkerEnd, WorkerStatus


class Level(StrEnum):
    """How well the pipeline works."""

    GOOD = "good"
    WAITING = "waiting"  # it does not work fully, but will recover by itself
    BAD = "bad"  # it does not work


class FindingKind(StrEnum):
    """What a finding is about."""

    WORKERS = "workers"
    KAFKA = "kafka"
    STATE = "state"
    TARGET = "target"
    LAG = "lag"
    DEAD_LETTERS = "deadLetters"
    INCIDENT = "incident"
    WARNING = "warning"
    COUNTS = "counts"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. ``headline``: for a badge. ``person``: whether it needs a person."""

    kind: FindingKind
    level: Level
    headline: str
    text: str
    person: bool


CATCHING_UP = Finding(FindingKind.COUNTS, Level.WAITING, "catching up", "the counts are being read", person=False)


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that this program opened and that is not over."""

    fingerprint: str
    number: str
    severity: str
    since_ms: int
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a pipeline.

    ``complete``: the read models have caught up. ``waiting_since_ms``: the time of the oldest event that no worker has
    taken yet. ``topic_gone``: the text to show if the main topic no longer exists. ``expiring``: values of open dead
    letters that Kafka may delete soon.
    """

    workers: Sequence[WorkerStatus]
    partitions: Collection[int]
    incidents: Sequence[OpenIncident] = ()
    dead_letters: Mapping[str, int] | None = None
    complete: bool = True
    waiting_since_ms: int | None = None
    last_end: WorkerEnd | None = None
    topic_gone: str | None = None
    dead_letter_topic: str = ""
    expiring: Sequence[ExpiringValues] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement on a pipeline. ``findings``: the worst first.

    ``workers``: the number of live workers. ``lag``: the number of events that wait, by the workers' own reports. Both
    are None if no pipeline was looked at.
    """

    findings: tuple[Finding, ...]
    workers: int | None = None
    lag: int | None = None

    @property
    def level(self) -> Level:
        """The worst level of all findings; dead letters, incidents and warnings alone do not stop the work."""
        levels = {finding.level for finding in self.findings}
        return next((level for level in (Level.BAD, Level.WAITING) if level in levels), Level.GOOD)

    @property
    def badge(self) -> str:
        """One or two words for a badge."""
        if self.level is Level.GOOD:
            return "needs a person" if self.needs_a_person else "complete"
        return next(finding.headline for finding in self.findings if finding.level is self.level)

    @property
    def summary(self) -> str:
        """One line for people: the state, and whether it needs a person."""
        if self.level is Level.GOOD:
            return "works, NEEDS A PERSON" if self.needs_a_person else "all is well"
        return self.badge.upper() + (", NEEDS A PERSON" if self.needs_a_person else "")

    @property
    def needs_a_person(self) -> bool:
        """Whether any finding needs a person."""
        return any(finding.person for finding in self.findings)
