"""Whether an outage went as promised: no dead letters because of it, one incident, and work resumed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.delivery.errors import REGISTRY
from app.demo.dead_letters import DeadLetter
from app.demo.outage_story import OutageStory


@dataclass(frozen=True, slots=True)
class OutageFindings:
    """The result of the scenario. ``dead_letters``: events that were given up because of the outage while it lasted."""

    story: OutageStory
    dead_letters: int
    incidents: int

    @property
    def breaker_open_seconds(self) -> float | None:
        """From the first breaker that opened to the last one that closed; None if this was not observed."""
        return _between(self.story.opened_at, self.story.closed_at)

    @property
    def recovery_seconds(self) -> float | None:
        """From the target's return until the backlog was worked off; None if this was not observed."""
        return _between(self.story.ended_at, self.story.recovered_at)


def given_up_in_outage(letters: Iterable[DeadLetter]) -> int:
    """The number of different events that were given up for a reason that an outage can cause. A row that was refused
    permanently does not count, because it got an answer."""
    return len({letter.source for letter in letters if _may_pass(letter.reason)})


def outage_problems(found: OutageFindings) -> list[str]:
    """One line for each promise that was not kept; empty if all is well."""
    if found.story.missed:
        return ["all events were settled before the outage could begin; publish more events (--events)"]
    opened = found.story.opened_at is not None
    if not opened and not found.dead_letters:
        return ["no circuit breaker opened: too few events were in progress; publish more events (--events)"]
    wrong = [] if opened else ["no circuit breaker opened"]
    if found.dead_letters:
        wrong.append(f"{found.dead_letters:,} events became dead letters because of the outage")
    if found.incidents != 1:
        wrong.append(f"the outage led to {found.incidents:,} incidents instead of one")
    elif not found.story.resolved:
        wrong.append("the incident has no resolve note")
    return wrong


def outage_report(found: OutageFindings) -> dict[str, Any]:
    """The field ``outage`` in the last line of ``demo --exit``; null: not observed."""
    return {
        "breakerOpenSeconds": _rounded(found.breaker_open_seconds),
        "deadLettersDuringOutage": found.dead_letters,
        "incidents": found.incidents,
        "recoverySeconds": _rounded(found.recovery_seconds),
    }


def outage_summary(found: OutageFindings) -> str:
    """The result in one sentence."""
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
