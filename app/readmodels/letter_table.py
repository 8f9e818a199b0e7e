"""The dead letters in SQLite, and the numbers that are kept of them, changed in the follower's transaction.

| table           | holds                                                                                   |
|-----------------|-----------------------------------------------------------------------------------------|
| ``letters``     | what filters ask for, of the record that counts: the one with the highest epoch         |
| ``letter_values`` | the record itself, apart, so that a scan of ``letters`` reads little                   |
| ``other_letters`` | records of lower epochs that stand in the topic too. They count if the higher one goes |
| ``kinds``       | fingerprints, with the number of consumers that have an open dead letter of each        |
| ``facets``      | what many dead letters have in common: fingerprint, reason, entity, operation, market   |
| ``letter_counts`` | dead letters by facet, partition and status                                           |
| ``failing``     | open dead letters by fingerprint and consumer                                           |
| ``handled``     | dead letters by task and what came of them                                              |

Invariant: every number equals what a count over ``letters`` would give. Numbers that become 0 are deleted.
"""

# ruff: noqa: S608 - every text of a query is ours, and every value is bound

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from app.delivery.dead_letter_record import DeadLetter, Holder, LetterStatus, kept_since
from app.delivery.letter_id import LetterId
from app.readmodels.batch import LetterChange

# As the tables hold them. Open is 0, so "closed" is ``status > 0``.
STATUS_NUMBERS = {LetterStatus.OPEN: 0, LetterStatus.SETTLED: 1, LetterStatus.DISCARDED: 2}
HOLDER_NUMBERS = {Holder.DLQ: 0, Holder.MAIN: 1}
# What came of a dead letter that a task handled and that has no outcome: it is open as before.
STILL_OPEN = "open"

LETTER_TABLES = (
    "letters", "letter_values", "other_letters", "kinds", "facets", "letter_counts", "failing", "handled",
)  # fmt: skip

LETTER_SCHEMA = """
CREATE TABLE letters (
    row INTEGER PRIMARY KEY, partition INTEGER NOT NULL, is_foreign INTEGER NOT NULL, place INTEGER NOT NULL,
    epoch INTEGER NOT NULL, version INTEGER NOT NULL, status INTEGER NOT NULL, facet INTEGER NOT NULL, consumer TEXT,
    event TEXT NOT NULL, last_failed INTEGER NOT NULL, changed INTEGER NOT NULL,
    first_failed INTEGER NOT NULL, holder INTEGER, kept_since INTEGER
);
CREATE UNIQUE INDEX letters_id ON letters (partition, is_foreign, place);
CREATE INDEX letters_page ON letters (status, last_failed, partition, is_foreign, place, facet);
CREATE INDEX letters_facet ON letters (facet, status, last_failed, partition, is_foreign, place);
CREATE INDEX letters_open ON letters (partition, is_foreign, place, facet) WHERE status = 0;
CREATE INDEX letters_since ON letters (facet, first_failed) WHERE status = 0;
CREATE INDEX letters_closed ON letters (partition, changed) WHERE status > 0;
CREATE INDEX letters_consumer ON letters (consumer, status, partition, is_foreign, place) WHERE consumer IS NOT NULL;
CREATE INDEX letters_kept ON letters (status, holder, kept_since) WHERE status = 0 AND kept_since IS NOT NULL;
CREATE INDEX letters_event ON letters (event);
CREATE TABLE letter_values (row INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE other_letters (
    partition INTEGER, is_foreign INTEGER, place INTEGER, epoch INTEGER, version INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (partition, is_foreign, place, epoch)
) WITHOUT ROWID;
CREATE TABLE kinds (kind INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, consumers INTEGER NOT NULL);
CREATE TABLE facets (
    facet INTEGER PRIMARY KEY, kind INTEGER NOT NULL, reason TEXT NOT NULL, entity TEXT NOT NULL,
    operation TEXT NOT NULL, market TEXT NOT NULL, UNIQUE (kind, reason, entity, operation, market)
);
CREATE TABLE letter_counts (
    facet INTEGER, partition INTEGER, status INTEGER, letters INTEGER NOT NULL, PRIMARY KEY (facet, partition, status)
) WITHOUT ROWID;
CREATE TABLE failing (
    kind INTEGER, consumer TEXT, letters INTEGER NOT NULL, PRIMARY KEY (kind, consumer)
) WITHOUT ROWID;
CREATE TABLE handled (
    task TEXT, partition INTEGER, outcome TEXT, is_open INTEGER, letters INTEGER NOT NULL,
    PRIMARY KEY (task, partition, outcome, is_open)
) WITHOUT ROWID;
"""

_FIND = (
    "SELECT row, epoch, version, value FROM letters JOIN letter_values USING (row)"
    " WHERE partition = ? AND is_foreign = ? AND place = ?"
)
_KEEP_OTHER = (
    "INSERT INTO other_letters VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET version = excluded.version, value = excluded.value WHERE excluded.version >= version"
)
_ONE_OTHER = " FROM other_letters WHERE partition = ? AND is_foreign = ? AND place = ?"


def apply_letters(connection: sqlite3.Connection, changes: Mapping[tuple[LetterId, int], LetterChange | None]) -> None:
    """Write a batch's dead-letter records; the caller has begun a transaction. The order of epochs does not matter."""
    if not changes:
        return
    writer = _Writer(connection)
    for (letter_id, epoch), change in changes.items():
        if change is None:
            writer.remove(letter_id, epoch)
        else:
            writer.put(letter_id, epoch, change)
    writer.finish()


def place_of(letter_id: LetterId) -> tuple[int, int, int]:
    """How the tables name a dead letter: partition, is_foreign, place."""
    return letter_id.partition, int(letter_id.foreign), letter_id.offset


class _Writer:
    """Collects the changes of the kept numbers, so that a batch writes each number once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._facets: dict[tuple[str, ...], tuple[int, int]] = {}
        self._counts: Counter[tuple[int, int, int]] = Counter()
        self._failing: Counter[tuple[int, str]] = Counter()
        self._handled: Counter[tuple[str, int, str, int]] = Counter()

    def put(self, letter_id: LetterId, epoch: int, change: LetterChange) -> None:
        place = place_of(letter_id)
        found = self._db.execute(_FIND, place).fetchone()
        if found is None:
            self._insert(letter_id, epoch, change)
            return
        row, counting, version, value = found
        if epoch < counting:
            self._db.execute(_KEEP_OTHER, (*place, epoch, change.version, change.value))
        elif epoch > counting or change.version >= version:
            if epoch > counting:
                self._db.execute(_KEEP_OTHER, (*place, counting, version, value))
            self._update(row, letter_id, epoch, DeadLetter.decode(value), change)

    def remove(self, letter_id: LetterId, epoch: int) -> None:
        place = place_of(letter_id)
        found = self._db.execute(_FIND, place).fetchone()
        if found is None or found[1] != epoch:
            self._db.execute(f"DELETE{_ONE_OTHER} AND epoch = ?", (*place, epoch))
            return
        row, _, _, value = found
        before = DeadLetter.decode(value)
        left = self._db.execute(f"SELECT epoch, version, value{_ONE_OTHER} ORDER BY epoch DESC LIMIT 1", place)
        if (other := left.fetchone()) is None:
            self._count(letter_id, before, -1)
            self._db.execute("DELETE FROM letters WHERE row = ?", (row,))
            self._db.execute("DELETE FROM letter_values WHERE row = ?", (row,))
            return
        self._db.execute(f"DELETE{_ONE_OTHER} AND epoch = ?", (*place, other[0]))
        change = LetterChange(other[1], other[2], DeadLetter.decode(other[2]))
        self._update(row, letter_id, other[0], before, change)

    def _insert(self, letter_id: LetterId, epoch: int, change: LetterChange) -> None:
        facet = self._count(letter_id, change.letter, 1)
        row = self._db.execute(
            "INSERT INTO letters VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place_of(letter_id), epoch, change.version, *_columns(facet, change.letter)),
        ).lastrowid
        self._db.execute("INSERT INTO letter_values VALUES (?, ?)", (row, change.value))

    def _update(self, row: int, letter_id: LetterId, epoch: int, before: DeadLetter, change: LetterChange) -> None:
        self._count(letter_id, before, -1)
        facet = self._count(letter_id, change.letter, 1)
        self._db.execute(
            "UPDATE letters SET epoch = ?, version = ?, status = ?, facet = ?, consumer = ?, event = ?,"
            " last_failed = ?, changed = ?, first_failed = ?, holder = ?, kept_since = ? WHERE row = ?",
            (epoch, change.version, *_columns(facet, change.letter), row),
        )
        self._db.execute("UPDATE letter_values SET value = ? WHERE row = ?", (change.value, row))

    def _count(self, letter_id: LetterId, letter: DeadLetter, sign: int) -> int:
        """Add a dead letter to the kept numbers, or take it out. Returns its facet."""
        facet, kind = self._facet(letter)
        is_open = letter.status is LetterStatus.OPEN
        self._counts[facet, letter_id.partition, STATUS_NUMBERS[letter.status]] += sign
        if is_open and letter.settlement.consumer_id is not None:
            self._failing[kind, letter.settlement.consumer_id] += sign
        # A task handles a dead letter once; its newest line says what came of it.
        for task, outcome in {line.task: line.outcome for line in letter.history if line.task}.items():
            self._handled[task, letter_id.partition, outcome or STILL_OPEN, int(is_open)] += sign
        return facet

    def _facet(self, letter: DeadLetter) -> tuple[int, int]:
        """(facet, kind) of a dead letter; new ones are made."""
        fingerprint, settlement = letter.fingerprint, letter.settlement
        key = (str(fingerprint), fingerprint.reason, fingerprint.entity, settlement.operation, settlement.market)
        if (known := self._facets.get(key)) is None:
            kind = self._number_of("kinds", "kind", ("fingerprint",), key[:1], (0,))
            shared = ("kind", "reason", "entity", "operation", "market")
            known = self._number_of("facets", "facet", shared, (kind, *key[1:])), kind
            self._facets[key] = known
        return known

    def _number_of(
        self, table: str, column: str, names: Iterable[str], key: tuple[Any, ...], further: tuple[Any, ...] = ()
    ) -> int:
        where = " AND ".join(f"{name} = ?" for name in names)
        found = self._db.execute(f"SELECT {column} FROM {table} WHERE {where}", key).fetchone()
        if found is not None:
            return int(found[0])
        marks = ", ".join("?" * (len(key) + len(further)))
        made = self._db.execute(f"INSERT INTO {table} VALUES (NULL, {marks})", (*key, *further))
        assert made.lastrowid is not None
        return made.lastrowid

    def finish(self) -> None:
        """Write the kept numbers."""
        self._add("letter_counts", ("facet", "partition", "status"), self._counts)
        self._add("handled", ("task", "partition", "outcome", "is_open"), self._handled)
        consumers = self._failing_consumers()
        for kind, by in consumers.items():
            self._db.execute("UPDATE kinds SET consumers = consumers + ? WHERE kind = ?", (by, kind))
        fewer = {facet for (facet, _, _), by in self._counts.items() if by <= 0}
        for facet, kind in self._facets.values():
            if (
                facet in fewer
                and not self._db.execute("SELECT 1 FROM letter_counts WHERE facet = ? LIMIT 1", (facet,)).fetchone()
            ):
                self._db.execute("DELETE FROM facets WHERE facet = ?", (facet,))
                self._db.execute(
                    "DELETE FROM kinds WHERE kind = ? AND NOT EXISTS (SELECT 1 FROM facets WHERE kind = ?)",
                    (kind, kind),
                )

    def _add(self, table: str, names: tuple[str, ...], changes: Mapping[tuple[Any, ...], int]) -> None:
        marks = ", ".join("?" * (len(names) + 1))
        self._db.executemany(
            f"INSERT INTO {table} VALUES ({marks}) ON CONFLICT DO UPDATE SET letters = letters + excluded.letters",
            [(*key, by) for key, by in changes.items() if by],
        )
        where = " AND ".join(f"{name} = ?" for name in names)
        self._db.executemany(
            f"DELETE FROM {table} WHERE {where} AND letters = 0",
            [key for key, by in changes.items() if by < 0],
        )

    def _failing_consumers(self) -> Counter[int]:
        """Write ``failing``; by how much the number of consumers of each kind has changed."""
        consumers: Counter[int] = Counter()
        for (kind, consumer), by in self._failing.items():
            if not by:
                continue
            found = self._db.execute("SELECT letters FROM failing WHERE kind = ? AND consumer = ?", (kind, consumer))
            before = (found.fetchone() or (0,))[0]
            consumers[kind] += (before + by > 0) - (before > 0)
            if before + by > 0:
                self._db.execute("INSERT OR REPLACE INTO failing VALUES (?, ?, ?)", (kind, consumer, before + by))
            else:
                self._db.execute("DELETE FROM failing WHERE kind = ? AND consumer = ?", (kind, consumer))
        return consumers


def _columns(facet: int, letter: DeadLetter) -> tuple[Any, ...]:
    return (
        STATUS_NUMBERS[letter.status],
        facet,
        letter.settlement.consumer_id,
        letter.settlement.event_id,
        letter.last_failed_ms,
        letter.changed_ms,
        letter.first_failed_ms,
        HOLDER_NUMBERS[letter.place.holder] if letter.place is not None else None,
        kept_since(letter),
    )
