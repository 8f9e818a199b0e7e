"""Whether a repair went as promised: one incident, every dead letter settled, counts moved, order kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.demo.repair_story import LetterIncident, RepairStory

# Rises from event to event of a consumer.
_RISING = "UpdatedAt"


@dataclass(frozen=True, slots=True)
class RepairFindings:
    """The result of the scenario. ``overtaken``: rows that an older event wrote after a newer one."""

    story: RepairStory
    incidents: Sequence[LetterIncident]
    overtaken: int

    @property
    def redrive_seconds(self) -> float | None:
        """From the moment when the cause was gone until the command ended; None if it did not come to that."""
        began, ended = self.story.corrected_at, self.story.redriven_at
        return None if began is None or ended is None else ended - began


def overtaken_writes(calls: Iterable[Mapping[str, Any]]) -> int:
    """How many accepted writes of one consumer's row came after a newer one. ``calls``: in their order, with rows."""
    newest, overtaken = "", 0
    for call in calls:
        if call["operation"] != "Update" or call["status"] != "ok":
            continue
        for row in call["rows"]:
            written = row.get(_RISING) or ""
            overtaken += written < newest
            newest = max(newest, written)
    return overtaken


def repair_problems(found: RepairFindings) -> list[str]:
    """One line for each promise that was not kept; empty if all is well."""
    story = found.story
    if story.missed:
        return ["no event could be refused; publish more events (--events)"]
    wrong = []
    if story.letters_before != story.plan.letters or story.failed_before != story.plan.letters:
        wrong.append(
            f"{story.plan.letters:,} events were refused, but there were {story.letters_before:,} open dead letters "
            f"and {story.failed_before:,} failed events"
        )
    if story.exit_code != 0:
        wrong.append(f"the redrive ended with exit code {story.exit_code}")
    if story.letters_after != 0:
        wrong.append(f"{_known(story.letters_after)} dead letters are open")
    if story.failed_after != 0:
        wrong.append(f"{_known(story.failed_after)} events still count as failed")
    if story.mended + story.superseded != story.plan.letters:
        wrong.append(
            f"{story.mended:,} events were redriven and {story.superseded:,} superseded, of {story.plan.letters:,}"
        )
    if len(found.incidents) != 1:
        wrong.append(f"the dead letters led to {len(found.incidents):,} incidents instead of one")
    elif not found.incidents[0].resolved:
        wrong.append("the incident is not resolved")
    if found.overtaken:
        wrong.append(f"{found.overtaken:,} rows were written by an older event after a newer one")
    return wrong


def repair_report(found: RepairFindings) -> dict[str, Any]:
    """The field ``repair`` in the last line of ``demo --exit``; null: not observed."""
    story, seconds = found.story, found.redrive_seconds
    return {
        "consumers": len(story.plan.consumers),
        "deadLetters": story.letters_before,
        "failedBefore": story.failed_before,
        "failedAfter": story.failed_after,
        "openDeadLetters": story.letters_after,
        "redriven": story.mended,
        "superseded": story.superseded,
        "redriveSeconds": None if seconds is None else round(seconds, 1),
        "incidents": len(found.incidents),
        "incidentResolved": story.resolved,
        "overtaken": found.overtaken,
    }


def repair_summary(found: RepairFindings) -> str:
    """The result in one sentence."""
    incidents = f"{len(found.incidents):,} incident{'' if len(found.incidents) == 1 else 's'}"
    story = found.story
    return (
        f"{story.letters_before:,} dead letters: {story.mended:,} redriven, {story.superseded:,} superseded; "
        f"{incidents}, {f'{found.overtaken:,} overtaken' if found.overtaken else 'order kept'}."
    )


def _known(number: int | None) -> str:
    return "An unknown number of" if number is None else f"{number:,}"
