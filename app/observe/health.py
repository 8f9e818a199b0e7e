"""Whether a worker is ready for work, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonKind(StrEnum):
    """What a reason is about. Callers without a token learn only this."""

    KAFKA = "kafka"  # brokers, topics, rights, the consumer group
    STATE = "state"  # the durable state is still being read, or cannot be written


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is missing. ``text`` may name brokers and topics, so only operators may see it."""

    kind: ReasonKind
    text: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the worker is ready. ``reasons``: what is missing; empty when it is ready."""

    ready: bool
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, *missing: Reason | None) -> Readiness:
        """Ready if every entry is ``None``, which stands for a thing that is not missing.

        >>> Readiness.of(None, Reason(ReasonKind.KAFKA, "the partitions are not assigned yet")).ready
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

        >>> away, full = Reason(ReasonKind.KAFKA, "away"), Reason(ReasonKind.STATE, "no disk")
        >>> Readiness.of(full, away, away).kinds
        ['kafka', 'state']
        """
        return sorted({reason.kind.value for reason in self.reasons})
