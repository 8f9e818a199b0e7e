"""Whether a worker can do its work, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Readiness:
    """``reasons`` says in plain words what is missing; empty when ready."""

    ready: bool
    reasons: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, *missing: str | None) -> Readiness:
        """Ready if nothing is missing; ``None`` entries are things that are there.

        >>> Readiness.of(None, "the partitions are not assigned yet").ready
        False
        """
        reasons = [reason for reason in missing if reason]
        return cls(not reasons, reasons)
