"""What persons did and saw, with the field names of the API. Pure."""

from __future__ import annotations

from typing import Any

from app.delivery.operator_task import EditKey, LetterFilter, Note, OperatorTask, TaskKey
from app.delivery.values_shown import ValuesShown
from app.readmodels.audit import AuditEntry
from app.readmodels.audit_table import said_at
from app.readmodels.consumers import iso_time

# A task may name 10,000 dead letters; its entry lists the first of them.
MOST_IDS_LISTED = 200
ACTIONS = ("redrive", "discard", "repair", "distrust", "pause", "resume", "cancel", "edit", "view")


def audit_view(entry: AuditEntry) -> dict[str, Any]:
    """One entry. ``ids``: of dead letters. ``filter``: of a task without IDs; without members it means all."""
    key, content = entry.key, entry.content
    view: dict[str, Any] = {
        "at": iso_time(said_at(content)),
        "by": content.by,
        "action": "view",
        "task": key.task if isinstance(key, TaskKey) else None,
        "ids": [],
        "filter": None,
        "matched": None,
        "force": False,
        "note": None,
    }
    match content:
        case OperatorTask():
            of_letters = not content.consumers
            return view | {
                "action": content.action.value,
                "ids": [str(one) for one in content.selection.ids[:MOST_IDS_LISTED]],
                "filter": _filter(content.selection.filter) if of_letters and not content.selection.ids else None,
                "matched": sum(content.matched.values()) or sum(map(len, content.consumers.values())),
                "force": content.force,
                "note": content.note or None,
            }
        case Note():
            return view | {
                "action": _action(key, content),
                "ids": [str(key.letter)] if isinstance(key, EditKey) else [],
                "note": content.note or None,
            }
        case ValuesShown():
            return view | {"ids": [str(one) for one in content.letters], "matched": len(content.letters)}


def _action(key: object, note: Note) -> str:
    if not isinstance(key, TaskKey):
        return "edit"
    return "cancel" if key.part == "cancel" else "pause" if note.on else "resume"


def _filter(chosen: LetterFilter) -> dict[str, str | None]:
    given = {
        "fingerprint": chosen.fingerprint,
        "reason": chosen.reason,
        "market": chosen.market,
        "operation": chosen.operation,
        "entity": chosen.entity,
        "consumer": chosen.consumer,
        "since": iso_time(chosen.since_ms),
        "until": iso_time(chosen.until_ms),
    }
    return {name: text for name, text in given.items() if text}
