"""Operators' tasks in SQLite: the records of the tasks topic, one row for each key."""

# ruff: noqa: S608 - every text of a query is ours, and every value is bound

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from app.delivery.operator_task import EditKey, TaskKey
from app.delivery.values_shown import ShownKey
from app.readmodels.batch import Change
from app.readmodels.letter_table import place_of

TASK_TABLES = ("tasks", "edits")

# ``part`` and ``partition``: see TaskKey. ``edited``: where the new bytes stand in the dead-letter topic.
TASK_SCHEMA = """
CREATE TABLE tasks (
    task TEXT, part TEXT, partition INTEGER, version INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (task, part, partition)
) WITHOUT ROWID;
CREATE TABLE edits (
    partition INTEGER, is_foreign INTEGER, place INTEGER, edited INTEGER, version INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (partition, is_foreign, place, edited)
) WITHOUT ROWID;
"""


def apply_tasks(connection: sqlite3.Connection, changes: Mapping[TaskKey | EditKey | ShownKey, Change]) -> None:
    """Write a batch's records of the tasks topic; the caller has begun a transaction."""
    for key, change in changes.items():
        if isinstance(key, ShownKey):
            continue
        if isinstance(key, EditKey):
            table = "edits"
            names: tuple[str, ...] = ("partition", "is_foreign", "place", "edited")
            values: tuple[object, ...] = (*place_of(key.letter), key.offset)
        else:
            table, names = "tasks", ("task", "part", "partition")
            values = (key.task, key.part, key.partition)
        if change.value is None:
            where = " AND ".join(f"{name} = ?" for name in names)
            connection.execute(f"DELETE FROM {table} WHERE {where}", values)
        else:
            marks = ", ".join("?" * (len(names) + 2))
            connection.execute(
                f"INSERT OR REPLACE INTO {table} VALUES ({marks})",
                (*values, change.version, change.value),
            )
