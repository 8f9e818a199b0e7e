"""How the delivery of an event ends: outcomes, failures, and the decision that follows from them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.delivery.errors import ErrorEntry, lookup
from app.delivery.value_class import value_class

UNKNOWN_MARKET = "-"
# The names that a market may have.
MARKET_PATTERN = r"^[A-Za-z0-9-]{1,16}$"


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

    ``retry_after``: seconds to wait before the next attempt, because the target asks for it or may still be busy with a
    call that was given up. ``request_id``: of the target's answer; empty if there was none.
    """

    code: str
    message: str
    entity: str
    phase: Phase
    retry_after: float | None = None
    request_id: str = ""

    @property
    def entry(self) -> ErrorEntry:
        return lookup(self.code)

    @property
    def retried(self) -> bool:
        return self.entry.error_class.retried


class NotPermitted(Exception):
    """Raised by the permit of a call that must not go out; ends the attempt without an outcome."""


@value_class(frozen=True, slots=True)
class RecordCount:
    """How many records of one entity type an attempt wrote (or, for DELETE, removed) and how many failed."""

    entity: str
    synced: int
    failed: int


@value_class(frozen=True, slots=True)
class Attempt:
    """Everything that came of running an event once. No failures: all is written."""

    failures: tuple[Failure, ...] = ()
    records: tuple[RecordCount, ...] = ()


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


class InvalidEvent(Exception):
    """Raised for a record that cannot be processed; carries what the dead letter and the counts need to know of it.

    ``message`` names fields and positions, never values: it goes into headers, logs and tickets.
    """

    def __init__(
        self, entry: ErrorEntry, message: str, *, event_id: str, market: str = UNKNOWN_MARKET, operation: str = "-"
    ) -> None:
        super().__init__(f"{entry.code}: {message}")
        self.entry = entry
        self.message = message
        self.event_id = event_id
        self.market = market
        self.operation = operation
