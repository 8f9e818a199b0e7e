"""Whether an outage went as promised: no flood of dead letters, one incident, and work that resumes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.delivery.errors import REGISTRY
from app.demo.dead_letters import DeadLetter
from app.demo.outage_story import OutageStory


@dataclass(frozen=True, slots=True)
class OutageFindings:
    """What was found in the end; ``dead_letters``: events given up because of the outage while it lasted."""

    story: OutageStory
    dead_letters: int
    incidents: int

    @property
    def breaker_open_seconds(self) -> float | None:
        """From the first breaker that opened to the last that closed; None when that was not seen."""
        return _between(self.story.opened_at, self.story.closed_at)

    @property
    def recovery_seconds(self) -> float | None:
        """From the target's return until the backlog was worked off; None when that was not seen."""
        return _between(self.story.ended_at, self.story.recovered_at)


def because_of_the_outage(letters: Iterable[DeadLetter]) -> int:
    """How many different events were given up for what an outage can cause. A row that was refused for good is not of
    that kind: somebody answered."""
    return len({letter.source for letter in letters if _may_pass(letter.reason)})


def outage_problems(found: OutageFindings) -> list[str]:
    """What did not go as promised, one clear line each; none = all is well."""
    if found.story.missed:
        return ["all events were settled before the outage could begin; publish more of them (--events)"]
    opened = found.story.opened_at is not None
    if not opened and not found.dead_letters:
        return ["no circuit breaker opened: too few events were under way; publish more of them (--events)"]
    wrong = [] if opened else ["no circuit breaker opened"]
    if found.dead_letters:
        wrong.append(f"{found.dead_letters:,} events became dead letters because of the outage")
    if found.incidents != 1:
        wrong.append(f"the outage led to {found.incidents:,} incidents instead of one")
    elif not found.story.resolved:
        wrong.append("the incident got no resolve note")
    return wrong


def outage_report(found: OutageFindings) -> dict[str, Any]:
    """The field ``outage`` in the last line of ``demo --exit``; null = was not seen."""
    return {
        "breakerOpenSeconds": _rounded(found.breaker_open_seconds),
        "deadLettersDuringOutage": found.dead_letters,
        "incidents": found.incidents,
        "recoverySeconds": _rounded(found.recovery_seconds),
    }


def outage_summary(found: OutageFindings) -> str:
    """In a sentence."""
    seconds = found.breaker_open_seconds
    breaker = "No breaker opened" if seconds is None else f"Breaker open for {seconds:.1f} s"
    incidents = f"{found.incidents:,} incident{'' if found.incidents == 1 else 's'}"
    letters = f"{found.dead_letters:,} dead letter{'' if found.dead_letters == 1 else 's'}"
    return f"{breaker}, {letters} because of the outage, {incidents}."


def _may_pass(reason: str) -> bool:
    entry = REGISTRY.get(reason)
    return entry is None or entry.error_class.retried


def _between(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else last - first


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
