"""What persons did and saw, newest first: tasks, pauses, cancellations, edits, and values that were shown.

It goes back as far as the tasks topic, from which records are removed after ``DLQ_KEEP_DAYS``. A task that was paused
and resumed shows the last of both only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.delivery.operator_task import EditKey, Note, OperatorTask, TaskKey, parse_tasks_key
from app.delivery.values_shown import ShownKey, ValuesShown, read_shown_key
from app.readmodels.audit_table import said
from app.readmodels.cursors import decode_place, encode_place
from app.readmodels.store import Store

# No place of a page is behind it.
_FIRST = (2**63 - 1, 2**63 - 1)
_ABOUT = "audit"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that a person did or saw."""

    key: TaskKey | EditKey | ShownKey
    content: OperatorTask | Note | ValuesShown


@dataclass(frozen=True, slots=True)
class AuditPage:
    """``next``: the cursor of the next page; None: this is the last one."""

    entries: tuple[AuditEntry, ...]
    next: str | None = None


class AuditIndex:
    """Every method raises ``ReadModelUnavailable`` while the file is being replaced. Asked from any thread."""

    def __init__(self, ask: Callable[[Callable[[Store], Any]], Any]) -> None:
        self._ask = ask

    def page(self, since_ms: int | None = None, *, limit: int, cursor: str | None = None) -> AuditPage:
        """Entries, newest first.

        Raises:
            CursorError: ``cursor`` is not one that a page gave.
        """
        after = _FIRST if cursor is None else decode_place(cursor, _ABOUT, len(_FIRST))
        rows = self._rows(
            "SELECT at, version, key, value FROM audit WHERE at >= ? AND (at, version) < (?, ?)"
            " ORDER BY at DESC, version DESC LIMIT ?",
            (since_ms or 0, *after, limit + 1),
        )
        entries = tuple(_entry(key, value) for *_, key, value in rows[:limit])
        return AuditPage(entries, encode_place(rows[limit - 1][:2], _ABOUT) if len(rows) > limit else None)

    def shown_before(self, ms: int, limit: int) -> list[bytes]:
        """The keys of records that values were shown before a time; oldest first."""
        rows = self._rows(
            "SELECT key FROM audit WHERE at < ? AND key >= 'shown|' AND key < 'shown}' ORDER BY at LIMIT ?", (ms, limit)
        )
        return [key.encode() for (key,) in rows]

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        found: list[Any] = self._ask(lambda store: store.rows(statement, values))
        return found


def _entry(key: str, value: bytes) -> AuditEntry:
    parsed = read_shown_key(key.encode()) or parse_tasks_key(key.encode())
    return AuditEntry(parsed, said(parsed, value))
