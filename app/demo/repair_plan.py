"""The plan of the scenario "repair": whose rows are refused, and when. Pure.

    sample events  0 ............ BREAK_AT ............ CORRECT_AT ........ end
    the column     long enough    too short for some     long enough again

Each part is published when the part before it is settled. While the column is too short, the chosen consumers have only
events of the operation UPDATE, and deletes of single rows, which the column does not concern. So all failures are of
one kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.delivery.errors import CMT_ROW_INVALID
from app.delivery.fingerprint import Fingerprint
from app.profile.entities import EntityType
from app.profile.event import Operation, ProfileEvent

# The number of sample events from which at least MOST_CONSUMERS are found.
EVENTS = 2500
MOST_CONSUMERS = 200
# Shares of the events that are published before the column is too short, and before it is long enough again.
BREAK_AT = 0.6
CORRECT_AT = 0.95
RATE = 50
# The incident is resolved this long after the last alert, and notes come as often. Production has 30 and 5 minutes.
RESOLVE_MINUTES = 0.1
NOTE_SECONDS = 2

KIND = Fingerprint(CMT_ROW_INVALID.code, EntityType.CONSUMER.value, Operation.UPDATE.value)
COLUMN = "LastName"
# Codes and texts as the simulator gives them for a value that its column does not take.
_VALIDATION = 310007
_REFUSED = f"Errors occurred with values specified. The value for column [{COLUMN}] is too long."


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """``break_at``, ``correct_at``: numbers of events published until then. ``consumers``: whose rows are refused.

    ``letters``: how many of their events are refused.
    """

    break_at: int
    correct_at: int
    consumers: Sequence[str]
    letters: int

    @classmethod
    def of(cls, events: Sequence[ProfileEvent]) -> RepairPlan:
        """The plan for these sample events."""
        break_at, correct_at = int(len(events) * BREAK_AT), int(len(events) * CORRECT_AT)
        meanwhile: dict[str, list[ProfileEvent]] = {}
        for event in events[break_at:correct_at]:
            meanwhile.setdefault(event.consumer_id, []).append(event)
        refused = {
            consumer: sum(event.operation is Operation.UPDATE for event in own)
            for consumer, own in meanwhile.items()
            if all(_fits(event) for event in own) and any(event.operation is Operation.UPDATE for event in own)
        }
        chosen = list(refused)[:MOST_CONSUMERS]
        return cls(break_at, correct_at, chosen, sum(refused[consumer] for consumer in chosen))

    def faults(self, customer_key: str) -> Iterator[Mapping[str, Any]]:
        """Bodies for ``POST /_sim/faults``. ``customer_key``: of the consumers' data extension."""
        for consumer in self.consumers:
            yield {
                "kind": "answer",
                "operation": "Update",
                "dataExtension": customer_key,
                "consumerId": consumer,
                "rowCode": _VALIDATION,
                "rowMessage": _REFUSED,
            }


def worker_variables() -> Mapping[str, str]:
    """Settings of the workers, in addition to those of every demo."""
    return {
        "SERVICENOW_RESOLVE_MINUTES": f"{RESOLVE_MINUTES:g}",
        "SERVICENOW_NOTE_EVERY_SECONDS": str(NOTE_SECONDS),
    }


def redrive_arguments() -> Sequence[str]:
    """The command that runs the dead letters again."""
    return ["dlq", "redrive", "--fingerprint", str(KIND), "--rate", str(RATE), "--yes", "--wait"]


def _fits(event: ProfileEvent) -> bool:
    return event.operation is Operation.UPDATE or (event.operation is Operation.DELETE and not event.deletes_profile)
