"""The consumer records in SQLite, and which consumers' last event ended how.

Every record has its own row, also those of lower epochs and of other partitions: whether one counts can change with
any write. So ``outcome`` and ``settled`` say what the record itself says of its last event, and a query leaves out the
records that do not count (``consumer_index.py``). A consumer whose rows were repaired after a partial event is listed
under no outcome.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from app.delivery.outcome import Outcome
from app.readmodels.batch import ConsumerChange

CONSUMER_TABLES = ("consumers",)

# A version, which is the record's offset, is unique on its partition. So the index gives pages a total order.
CONSUMER_SCHEMA = """
CREATE TABLE consumers (
    consumer_id TEXT, partition INTEGER, epoch INTEGER, version INTEGER NOT NULL, outcome TEXT, settled INTEGER,
    value BLOB NOT NULL, PRIMARY KEY (consumer_id, partition, epoch)
) WITHOUT ROWID;
CREATE INDEX consumers_ended ON consumers (outcome, settled, partition, version) WHERE outcome IS NOT NULL;
"""


def apply_consumers(
    connection: sqlite3.Connection, changes: Mapping[tuple[int, int, str], ConsumerChange | None]
) -> None:
    """Write a batch's consumer records; the caller has begun a transaction. Of one epoch the higher offset counts."""
    gone = [(consumer, partition, epoch) for (partition, epoch, consumer), kept in changes.items() if kept is None]
    connection.executemany("DELETE FROM consumers WHERE consumer_id = ? AND partition = ? AND epoch = ?", gone)
    connection.executemany(
        "INSERT INTO consumers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version,"
        " outcome = excluded.outcome, settled = excluded.settled, value = excluded.value"
        " WHERE excluded.version >= version",
        [
            (
                consumer,
                partition,
                epoch,
                kept.version,
                _outcome(kept),
                kept.last.settled_ms if kept.last else None,
                kept.value,
            )
            for (partition, epoch, consumer), kept in changes.items()
            if kept is not None
        ],
    )


def _outcome(change: ConsumerChange) -> str | None:
    if change.last is None or (change.is_mended and change.last.outcome == Outcome.PARTIAL.value):
        return None
    return change.last.outcome
