"""The dead letters of a partition, for its owner. Asked from any thread; a single one takes some 20 microseconds.

The answers reflect what was applied so far, so call ``wait_until`` first. While the partition's records are being read
in, every question raises ``ReadModelUnavailable``: an answer would wrongly say that there is no dead letter.
"""

# ruff: noqa: S608 - every text of a query is ours, and every value is bound

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.delivery.dead_letter_record import DeadLetter
from app.delivery.letter_id import LetterId, letter_key
from app.delivery.operator_task import LetterFilter
from app.readmodels.letter_filter import condition
from app.readmodels.letter_queries import LetterQueries
from app.readmodels.letter_table import place_of
from app.readmodels.unavailable import ReadModelUnavailable

# A dead letter, the epoch of the record that counts, and what it says.
FoundLetter = tuple[LetterId, int, DeadLetter]

_COLUMNS = "SELECT partition, is_foreign, place, epoch, value FROM letters"
_VALUES = "JOIN letter_values USING (row)"


@dataclass(frozen=True, slots=True)
class ForgettableLetter:
    """A closed dead letter. ``keys``: of all its records, lowest epoch first. In this order no older record comes to
    count while they are removed."""

    id: LetterId
    keys: tuple[bytes, ...]


class OwnerLetters(LetterQueries):
    """What the owner of a partition asks."""

    def building(self, partition: int) -> bool:
        """Whether the partition's records are being read in."""
        return self._progress.building(self._topic, partition)

    def position(self, partition: int) -> int:
        """The offset of the partition's dead-letter records below which everything was applied."""
        return self._progress.position(self._topic, partition)

    async def wait_until(self, partition: int, offset: int, timeout: float) -> bool:  # noqa: ASYNC109
        """Whether everything below ``offset`` was applied within ``timeout`` seconds."""
        return await self._progress.wait_until(self._topic, partition, offset, timeout)

    def record(self, letter_id: LetterId) -> tuple[int, DeadLetter] | None:
        """(epoch, record) of a dead letter.

        Raises:
            ReadModelUnavailable: the partition's records are being read in.
        """
        self._check(letter_id.partition)
        rows = self._rows(
            f"SELECT epoch, value FROM letters {_VALUES} WHERE partition = ? AND is_foreign = ? AND place = ?",
            place_of(letter_id),
        )
        return (rows[0][0], DeadLetter.decode(rows[0][1])) if rows else None

    def open_after(
        self, partition: int, after_offset: int, chosen: LetterFilter, limit: int, *, foreign: bool = False
    ) -> list[FoundLetter]:
        """Open dead letters with an offset above ``after_offset``, lowest first.

        Raises:
            ReadModelUnavailable: the partition's records are being read in.
        """
        self._check(partition)
        wanted = condition(chosen)
        index = "letters_consumer" if chosen.consumer else "letters_open"
        return self._found(
            f"{_COLUMNS} INDEXED BY {index} {_VALUES} WHERE partition = ? AND is_foreign = ? AND status = 0"
            f" AND place > ? AND {wanted.sql} ORDER BY place LIMIT ?",
            (partition, int(foreign), after_offset, *wanted.values, limit),
        )

    def open_number(self, partition: int) -> int:
        """How many dead letters of a partition are open, without those of other programs.

        Raises:
            ReadModelUnavailable: the partition's records are being read in.
        """
        self._check(partition)
        rows = self._rows(
            "SELECT count(*) FROM letters INDEXED BY letters_open"
            " WHERE partition = ? AND is_foreign = 0 AND status = 0",
            (partition,),
        )
        return int(rows[0][0])

    def open_of(self, partition: int, consumer: str, below_offset: int, limit: int) -> list[FoundLetter]:
        """A consumer's open dead letters before an event's offset, lowest first; not those of other programs.

        Raises:
            ReadModelUnavailable: the partition's records are being read in.
        """
        self._check(partition)
        return self._found(
            f"{_COLUMNS} INDEXED BY letters_consumer {_VALUES} WHERE consumer = ? AND status = 0 AND partition = ?"
            " AND is_foreign = 0 AND place < ? ORDER BY place LIMIT ?",
            (consumer, partition, below_offset, limit),
        )

    def forgettable(self, partition: int, before_ms: int, limit: int) -> list[ForgettableLetter]:
        """Closed dead letters whose record was written before a time, oldest first.

        Raises:
            ReadModelUnavailable: the partition's records are being read in.
        """
        self._check(partition)
        rows = self._rows(
            "SELECT is_foreign, place, epoch FROM letters INDEXED BY letters_closed"
            " WHERE partition = ? AND status > 0 AND changed < ? ORDER BY changed LIMIT ?",
            (partition, before_ms, limit),
        )
        found = []
        for foreign, place, epoch in rows:
            letter_id = LetterId(partition, place, bool(foreign))
            found.append(ForgettableLetter(letter_id, (*self.other_keys(letter_id), letter_key(letter_id, epoch))))
        return found

    def other_keys(self, letter_id: LetterId) -> tuple[bytes, ...]:
        """Keys of a dead letter's records that do not count, because another has a higher epoch; lowest first."""
        rows = self._rows(
            "SELECT epoch FROM other_letters WHERE partition = ? AND is_foreign = ? AND place = ? ORDER BY epoch",
            place_of(letter_id),
        )
        return tuple(letter_key(letter_id, epoch) for (epoch,) in rows)

    def _found(self, statement: str, values: Sequence[Any]) -> list[FoundLetter]:
        return [
            (LetterId(partition, place, bool(foreign)), epoch, DeadLetter.decode(value))
            for partition, foreign, place, epoch, value in self._rows(statement, values)
        ]

    def _check(self, partition: int) -> None:
        if self.building(partition):
            raise ReadModelUnavailable(
                f"dead-letter records of partition {partition} are being read in; wait_until first"
            )
