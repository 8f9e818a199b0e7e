"""What an attempt came to, and what follows: the outcome table as pure functions.

| operation, phase                              | transient, attempts used up | permanent                     |
|-----------------------------------------------|-----------------------------|-------------------------------|
| before the parent is written (get, row delete)| failed: dead letter, alert  | failed: dead letter, alert    |
| parent post                                   | failed: dead letter, alert  | failed, no child is posted    |
| child post, parent written                    | partial                     | partial, the rest is posted   |
| DELETE, any row                               | failed: dead letter, alert  | failed, the parent stays      |
| not decodable, schema, key                    |                             | invalid: dead letter          |

``SYNC_CHILD_FAILURE=dlq`` makes a dead letter (without an alert) of ``partial``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from app.domain.entities import EntityType
from app.domain.errors import ErrorEntry, lookup
from app.domain.value_class import value_class


class Outcome(StrEnum):
    """How an event ended; each event has exactly one."""

    SYNCED = "synced"
    PARTIAL = "partial"
    FAILED = "failed"
    INVALID = "invalid"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"


class Phase(StrEnum):
    """Where in an event's calls something happened."""

    BEFORE_PARENT = "before-parent"
    PARENT = "parent"
    CHILD = "child"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that went wrong. ``message`` is safe to show: values are masked.

    ``retry_after``: seconds the target asks to wait, or may still be busy with a call that was given up.
    ``late_seconds``: for so long a write that was given up may still be carried out.
    """

    code: str
    message: str
    entity: EntityType
    phase: Phase
    retry_after: float | None = None
    late_seconds: float = 0.0

    @property
    def entry(self) -> ErrorEntry:
        return lookup(self.code)

    @property
    def retried(self) -> bool:
        return self.entry.error_class.retried


class NotPermitted(Exception):
    """Raised by the permit of a call that must not go out; ends the attempt without an outcome.

    ``late_seconds``: for so long a write that the attempt has given up may still be carried out.
    """

    late_seconds = 0.0


@value_class(frozen=True, slots=True)
class RecordCount:
    """How many records of one entity type an attempt wrote (or, for DELETE, removed) and how many failed."""

    entity: EntityType
    synced: int
    failed: int


@value_class(frozen=True, slots=True)
class Attempt:
    """Everything that came of running an event once. No failures: all is written."""

    failures: tuple[Failure, ...] = ()
    records: tuple[RecordCount, ...] = ()

    @property
    def late_seconds(self) -> float:
        """For how long a write of it that was given up may still be carried out."""
        return max((failure.late_seconds for failure in self.failures), default=0.0)


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Park the consumer and run the event again later."""

    failure: Failure


@value_class(frozen=True, slots=True)
class Settle:
    """The event has its final outcome."""

    outcome: Outcome
    failure: Failure | None = None
    dead_letter: bool = False
    alert: bool = False


Decision = TryAgain | Settle


def stops_attempt(failure: Failure, *, last_attempt: bool) -> bool:
    """Whether the remaining calls of an attempt are left out after this failure.

    Before and at the parent: always. Children: a failure of the row alone never keeps the others from being posted; one
    of the transport does while the event will be tried again as a whole anyway. DELETE: likewise, so that as much as
    possible is erased; the parent's own delete is planned last and left out by the caller when any row failed.
    """
    if failure.phase in (Phase.BEFORE_PARENT, Phase.PARENT):
        return True
    return failure.retried and failure.entry.transport and not last_attempt


def decide(attempt: Attempt, *, attempts_left: bool, child_failure_to_dlq: bool = False) -> Decision:
    """What follows from an attempt, by what failed.

    A failure that may pass by itself is tried again while attempts are left, unless a permanent one has already
    sealed the event (a permanent child failure seals nothing: its siblings may still get through). Of several waits the
    longest counts.
    """
    if not attempt.failures:
        return Settle(Outcome.SYNCED)
    sealing = [f for f in attempt.failures if f.phase is not Phase.CHILD]
    permanent = next((f for f in sealing if not f.retried), None)
    transient = next((f for f in attempt.failures if f.retried), None)
    if transient is not None and permanent is None and attempts_left:
        waits = [f.retry_after for f in attempt.failures if f.retry_after is not None]
        return TryAgain(replace(transient, retry_after=max(waits, default=None)))
    if sealing:
        return Settle(Outcome.FAILED, permanent or sealing[0], dead_letter=True, alert=True)
    return Settle(Outcome.PARTIAL, attempt.failures[0], dead_letter=child_failure_to_dlq)
