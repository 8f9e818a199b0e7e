"""The read models in SQLite: the followed topics as tables, and the position in each partition.

The file holds nothing that Kafka does not hold. It is therefore written without waiting for the disk, and deleted
whenever it is in doubt. Invariant: data and positions change in one transaction, so that after a restart reading goes
on exactly where the data ends.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.delivery.pipeline import Pipeline
from app.readmodels.audit_table import AUDIT_SCHEMA, AUDIT_TABLES, apply_audit
from app.readmodels.batch import ReadBatch
from app.readmodels.consumer_table import CONSUMER_SCHEMA, CONSUMER_TABLES, apply_consumers
from app.readmodels.letter_table import LETTER_SCHEMA, LETTER_TABLES, apply_letters
from app.readmodels.task_table import TASK_SCHEMA, TASK_TABLES, apply_tasks

# A file with another number was written by another version of the program and is rebuilt.
SCHEMA_VERSION = 11

_SCHEMA = f"""
CREATE TABLE boots (id TEXT NOT NULL);
CREATE TABLE topics (topic TEXT PRIMARY KEY, id TEXT NOT NULL, followed_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    topic TEXT, partition INTEGER, position INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE partitions (
    partition INTEGER, epoch INTEGER, version INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (partition, epoch)
);
CREATE TABLE documents (key BLOB PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
{CONSUMER_SCHEMA}
{LETTER_SCHEMA}
{TASK_SCHEMA}
{AUDIT_SCHEMA}
"""

# Errors that say that the file is gone, is no database, or is not ours. All others, such as a full disk, may pass.
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_ERROR,  # a table is missing
    sqlite3.SQLITE_READONLY,  # the file was moved or deleted under us
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_FORMAT,
}

# Readers never wait for the writer (WAL). This is for a foreign process that has the file open.
_BUSY_SECONDS = 5.0


def is_damage(error: sqlite3.Error, path: Path) -> bool:
    """Whether the file must be replaced. A file that exists but cannot be opened is not damaged: the process may have
    run out of file descriptors."""
    if isinstance(error, sqlite3.ProgrammingError):  # the connection was closed by ``close``
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return not path.exists()
    return code is None or (code & 0xFF) in _DAMAGE


class Store:
    """One open file. Only the follower's thread writes. Any thread may read; each has a connection of its own."""

    def __init__(self, path: Path, pipeline: Pipeline, *, check: bool = True) -> None:
        """Open the file, or create it.

        Args:
            check: whether the whole file is checked, which takes a second or more per gigabyte. Without it, the file is
                checked only if the machine was started again since it was opened last: only then may pages be missing
                that were written without waiting for the disk.

        Raises:
            sqlite3.Error: the file cannot be opened, is damaged, or has another schema (see ``is_damage``).
        """
        self.path = path
        # Raised whenever the tasks may have changed, so that their readers can keep what they have decoded.
        self.tasks_version = 0
        self._tasks_topic = pipeline.tasks_topic
        self._tables: dict[str, tuple[str, ...]] = {
            pipeline.state_topic: ("partitions", "documents"),
            pipeline.consumers_topic: CONSUMER_TABLES,
            pipeline.letters_topic: LETTER_TABLES,
            pipeline.tasks_topic: (*TASK_TABLES, *AUDIT_TABLES),
        }
        self._readers: list[_Reader] = []
        self._own = threading.local()
        self._guard = threading.Lock()
        self._writer = _connect(path)
        try:
            self._prepare(check)
        except BaseException:
            self._writer.close()
            raise

    def _prepare(self, check: bool) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = OFF")
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        empty = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty:
            self._writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"schema version {version}, this program has {SCHEMA_VERSION}")
        elif (check or not self._same_boot()) and (
            verdict := self._writer.execute("PRAGMA quick_check(1)").fetchone()[0]
        ) != "ok":
            raise sqlite3.DatabaseError(verdict)
        # The file may hold the data of another group or topic that used the same folder.
        for (topic,) in self._writer.execute("SELECT topic FROM topics").fetchall():
            if topic not in self._tables:
                raise sqlite3.DatabaseError(f"holds the read model of topic {topic}")
        with _Transaction(self._writer):
            self._writer.execute("DELETE FROM boots")
            self._writer.execute("INSERT INTO boots VALUES (?)", (_boot_id(),))

    def _same_boot(self) -> bool:
        """Whether the machine has run since the file was opened last; False if that is not known."""
        return _boot_id() != "" and self._writer.execute("SELECT id FROM boots").fetchall() == [(_boot_id(),)]

    def close(self) -> None:
        """Close all connections, those of other threads too."""
        with self._guard:
            readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()
        self._writer.close()

    # For the follower's thread.
    def known_topic(self, topic: str) -> tuple[str, float] | None:
        """(topic ID, Unix time of the last following) of the topic that the data comes from."""
        row = self._writer.execute("SELECT id, followed_at FROM topics WHERE topic = ?", (topic,)).fetchone()
        return (row[0], row[1]) if row else None

    def positions(self, topic: str) -> dict[int, int]:
        """The next offset to read, for every partition that was read before."""
        rows = self._writer.execute("SELECT partition, position FROM positions WHERE topic = ?", (topic,))
        return dict(rows.fetchall())

    def reset(self, topic: str, topic_id: str, now: float) -> None:
        """Delete the data of a topic and store its new ID."""
        with _Transaction(self._writer):
            for table in self._tables[topic]:
                self._writer.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of ours
            self._writer.execute("DELETE FROM positions WHERE topic = ?", (topic,))
            self._writer.execute("INSERT OR REPLACE INTO topics VALUES (?, ?, ?)", (topic, topic_id, now))
        if topic == self._tasks_topic:
            self.tasks_version += 1

    def followed(self, topics: Iterable[str], now: float) -> None:
        """Note that the topics were followed until ``now``."""
        with _Transaction(self._writer):
            for topic in topics:
                self._writer.execute("UPDATE topics SET followed_at = ? WHERE topic = ?", (now, topic))

    def apply(self, batch: ReadBatch) -> None:
        """Write a batch and its positions in one transaction. For each key and epoch the higher offset wins."""
        with _Transaction(self._writer):
            for (partition, epoch), change in batch.partitions.items():
                if change.value is None:
                    self._writer.execute("DELETE FROM partitions WHERE partition = ? AND epoch = ?", (partition, epoch))
                else:
                    self._writer.execute(
                        "INSERT INTO partitions VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                        " SET version = excluded.version, value = excluded.value WHERE excluded.version >= version",
                        (partition, epoch, change.version, change.value),
                    )
            for key, change in batch.documents.items():
                if change.value is None:
                    self._writer.execute("DELETE FROM documents WHERE key = ?", (key,))
                else:
                    self._writer.execute(
                        "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (key, change.version, change.value)
                    )
            apply_consumers(self._writer, batch.consumers)
            apply_letters(self._writer, batch.letters)
            apply_tasks(self._writer, batch.tasks)
            apply_audit(self._writer, batch.tasks)
            self._store_positions(batch.positions)
        if batch.tasks:
            self.tasks_version += 1

    def _store_positions(self, positions: Mapping[tuple[str, int], int]) -> None:
        self._writer.executemany(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)",
            [(topic, partition, position) for (topic, partition), position in positions.items()],
        )

    # For any thread.
    def partition_versions(self) -> list[tuple[int, int, int]]:
        """(partition, epoch, version) of the record that counts for each partition: the one with the highest epoch."""
        return self._read("SELECT partition, max(epoch), version FROM partitions GROUP BY partition ORDER BY partition")

    def partition_value(self, partition: int, epoch: int) -> tuple[int, bytes] | None:
        """(version, value) of one partition record."""
        rows = self._read("SELECT version, value FROM partitions WHERE partition = ? AND epoch = ?", (partition, epoch))
        return rows[0] if rows else None

    def document(self, key: bytes) -> bytes | None:
        """One document of closed days."""
        rows = self._read("SELECT value FROM documents WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def consumer_ids(self) -> list[str]:
        """Every consumer that has a record."""
        return [row[0] for row in self._read("SELECT DISTINCT consumer_id FROM consumers ORDER BY consumer_id")]

    def consumer_values(self, consumer_id: str) -> list[tuple[int, int, bytes]]:
        """(partition, epoch, value) of a consumer's record on every partition, each with the highest epoch."""
        return self._read(
            "SELECT partition, max(epoch), value FROM consumers WHERE consumer_id = ? GROUP BY partition",
            (consumer_id,),
        )

    def consumer_value(self, partition: int, consumer_id: str) -> tuple[int, bytes] | None:
        """(epoch, value) of a consumer's record on one partition."""
        rows = self._read(
            "SELECT epoch, value FROM consumers WHERE consumer_id = ? AND partition = ? ORDER BY epoch DESC LIMIT 1",
            (consumer_id, partition),
        )
        return rows[0] if rows else None

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """The rows of a query."""
        return self._read(statement, values)

    def _read(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        reader: _Reader | None = getattr(self._own, "reader", None)
        if reader is None:
            reader = _Reader(self.path)
            self._own.reader = reader
            with self._guard:
                self._readers.append(reader)
        return reader.rows(statement, values)


class _Reader:
    """The connection of one thread. The lock only keeps ``close`` from closing it during a query."""

    def __init__(self, path: Path) -> None:
        self._connection = _connect(path, create=False)
        self._connection.execute("PRAGMA query_only = ON")
        self._lock = threading.Lock()

    def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class _Transaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _boot_id() -> str:
    """Which start of the machine this is (random(4)); "" if the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _connect(path: Path, *, create: bool = True) -> sqlite3.Connection:
    # A reader must not create a file in place of a deleted one: its answers would say that no consumer is known.
    if create:
        # Only this user may read it, because it holds consumer IDs. SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)


def remove(path: Path) -> None:
    """Delete a store, with the files that SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
