"""Whether a worker can do its work, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a missing thing belongs to: all that a stranger is told."""

    KAFKA = "kafka"  # brokers, topics, rights, the consumer group
    STATE = "state"  # the durable state is still being read, or cannot be kept


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is missing. ``text`` may name brokers and topics: for those who run the worker."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """``reasons`` says what is missing; empty when ready."""

    ready: bool
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, *missing: Reason | None) -> Readiness:
        """Ready if nothing is missing; ``None`` entries are things that are there.

        >>> Readiness.of(None, Reason(Kind.KAFKA, "the partitions are not assigned yet")).ready
        False
        """
        reasons = tuple(reason for reason in missing if reason is not None)
        return cls(not reasons, reasons)

    @property
    def texts(self) -> list[str]:
        """The reasons in plain words."""
        return [reason.text for reason in self.reasons]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the reasons, each once.

        >>> Readiness.of(Reason(Kind.STATE, "no disk"), Reason(Kind.KAFKA, "away"), Reason(Kind.KAFKA, "lag")).kinds
        ['kafka', 'state']
        """
        return sorted({reason.kind.value for reason in self.reasons})
