"""What persons did and saw, newest first: tasks, pauses, cancellations, edits, and values that were shown.

It goes back as far as the tasks topic, from which records are removed after ``DLQ_KEEP_DAYS``. A task that was paused
and resumed shows the last of both only.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from app.delivery import state_fields as fields
from app.delivery.operator_task import EditKey, Note, OperatorTask, TaskKey, parse_tasks_key
from app.delivery.values_shown import ShownKey, ValuesShown, read_shown_key
from app.readmodels.audit_table import said
from app.readmodels.cursors import CursorError
from app.readmodels.store import Store


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
        at_ms, key = (2**63 - 1, "") if cursor is None else _decode_cursor(cursor)
        rows = self._rows(
            "SELECT at, key, value FROM audit WHERE at >= ? AND (at, key) < (?, ?) ORDER BY at DESC, key DESC LIMIT ?",
            (max(-(2**63), min(2**63 - 1, since_ms or 0)), at_ms, key, limit + 1),
        )
        entries = tuple(_entry(key, value) for _, key, value in rows[:limit])
        return AuditPage(entries, _encode_cursor(*rows[limit - 1][:2]) if len(rows) > limit else None)

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


def _encode_cursor(at_ms: int, key: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([at_ms, key])).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[int, str]:
    try:
        content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        at_ms, key = orjson.loads(content)
        return fields.moment(at_ms), fields.text(key)
    except (ValueError, TypeError, binascii.Error):
        raise CursorError("not a cursor of this list; leave it out to begin with the first page") from None
