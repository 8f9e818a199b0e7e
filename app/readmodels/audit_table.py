"""What persons did and saw, in SQLite: one row for each record of the tasks topic that says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from app.delivery.operator_task import EditKey, Note, OperatorTask, TaskKey, decode_note, decode_task
from app.delivery.values_shown import ShownKey, ValuesShown, decode_shown
from app.readmodels.batch import Change

AUDIT_TABLES = ("audit",)

# A version is the record's offset; the topic has one partition, so the index gives pages a total order.
AUDIT_SCHEMA = """
CREATE TABLE audit (
    key TEXT PRIMARY KEY, version INTEGER NOT NULL, at INTEGER NOT NULL, value BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX audit_at ON audit (at, version);
"""


def apply_audit(connection: sqlite3.Connection, changes: Mapping[TaskKey | EditKey | ShownKey, Change]) -> None:
    """Write a batch's records of the tasks topic; the caller has begun a transaction."""
    for key, change in changes.items():
        if isinstance(key, TaskKey) and key.part == "end":  # a worker said so, not a person
            continue
        name = key.encode().decode()
        if change.value is None:
            connection.execute("DELETE FROM audit WHERE key = ?", (name,))
        else:
            at_ms = said_at(said(key, change.value))
            row = name, change.version, at_ms, change.value
            connection.execute("INSERT OR REPLACE INTO audit VALUES (?, ?, ?, ?)", row)


def said(key: TaskKey | EditKey | ShownKey, value: bytes) -> OperatorTask | Note | ValuesShown:
    """What a record says.

    Raises:
        StateError: it cannot be read.
    """
    match key:
        case ShownKey():
            return decode_shown(value)
        case TaskKey(part=""):
            return decode_task(key.task, value)
        case _:
            return decode_note(value)


def said_at(content: OperatorTask | Note | ValuesShown) -> int:
    """When it was said, in ms since 1970."""
    return content.created_ms if isinstance(content, OperatorTask) else content.at_ms
