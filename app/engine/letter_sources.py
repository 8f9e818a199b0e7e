"""What the engine asks about dead letters, operators' tasks, and the bytes of dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from app.delivery.dead_letter_record import DeadLetter, ValuePlace
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import LetterFilter, OperatorTask
from app.delivery.record import SourceRecord
from app.delivery.value_class import value_class


@value_class(frozen=True, slots=True)
class KnownLetter:
    """A dead letter with the record that counts. ``epoch``: of the record's writer."""

    id: LetterId
    epoch: int
    record: DeadLetter


@value_class(frozen=True, slots=True)
class TopicEnds:
    """Where the topics of dead-letter records and of tasks ended when a partition was taken over."""

    letters: int = 0
    tasks: int = 0


class ValuesUnavailable(Exception):
    """The bytes of dead letters cannot be read right now; the text says why."""


class Letters(Protocol):
    """The dead-letter records, as a follower of their topic has read them.

    The methods that return records raise ``StatesUnavailable`` while the records are being read in again.
    """

    async def catch_up(self, partition: int, end: int) -> None:
        """Return when everything below offset ``end`` of the topic's partition has been read."""

    async def available(self, partition: int) -> None:
        """Return when records can be returned again."""

    def applied(self, partition: int) -> int:
        """The offset of the topic's partition below which everything has been read."""

    def record(self, letter: LetterId) -> KnownLetter | None:
        """The record of a dead letter, open or not."""

    def open_after(
        self, partition: int, after: int, chosen: LetterFilter, limit: int, *, foreign: bool = False
    ) -> Sequence[KnownLetter]:
        """Open dead letters of a partition with a higher offset, lowest first."""

    def open_of(self, partition: int, consumer: str, below: int, limit: int) -> Sequence[KnownLetter]:
        """Open dead letters of a consumer with a lower offset, lowest first; no foreign ones."""

    def open_number(self, partition: int) -> int:
        """How many dead letters of a partition are open; no foreign ones."""

    def forgettable(self, partition: int, before_ms: int, limit: int) -> Sequence[tuple[LetterId, Sequence[bytes]]]:
        """Closed dead letters whose record was written before a time, oldest first, each with the keys of all its
        records in the order in which they must be removed."""


class Tasks(Protocol):
    """Operators' tasks, as a follower of their topic has read them."""

    async def catch_up(self, end: int) -> None:
        """Return when everything below offset ``end`` of the topic has been read."""

    def running(self, partition: int) -> Sequence[OperatorTask]:
        """The tasks that are neither cancelled, nor paused, nor ended on a partition; oldest first. Cheap."""

    def note(self, task: str) -> str:
        """The note of a task; "" if there is none, or the task is not known any more."""

    def edit(self, letter: LetterId) -> int | None:
        """The offset of the dead-letter topic at which a dead letter's newest edited bytes stand; None: not edited."""

    def edit_keys(self, letter: LetterId) -> Sequence[bytes]:
        """The keys of all edits of a dead letter."""

    def forgettable(self, before_ms: int) -> Sequence[Sequence[bytes]]:
        """Tasks that have ended, and of which nothing was said since a time: the keys of all records of each, in the
        order in which they must be removed."""


class LetterValues(Protocol):
    """Reads dead letters' bytes from the dead-letter topic, or from the main topic."""

    async def read(self, partition: int, places: Mapping[int, ValuePlace]) -> Mapping[int, SourceRecord]:
        """The records that became dead letters, by their offset in the main topic. Left out: those that are gone.

        Args:
            places: main offset -> where the bytes are.

        Raises:
            ValuesUnavailable: no answer from the brokers.
        """

    async def read_foreign(self, partition: int, offsets: Sequence[int]) -> Mapping[int, SourceRecord]:
        """Records of the dead-letter topic as they stand there, by their offset. Left out: those that are gone.

        Raises:
            ValuesUnavailable: no answer from the brokers.
        """

    async def read_on(self, partition: int, start: int) -> tuple[Sequence[SourceRecord], int]:
        """Records of the dead-letter topic from offset ``start`` on, as many as are read in one go, and the offset at
        which to go on.

        Raises:
            ValuesUnavailable: no answer from the brokers.
        """


class NoLetters:
    """No dead letters, no tasks: for a worker without an index."""

    async def catch_up(self, partition: int, end: int) -> None:
        """Nothing to wait for."""

    async def available(self, partition: int) -> None:
        """Always."""

    def applied(self, partition: int) -> int:
        """Everything."""
        return 2**62

    def record(self, letter: LetterId) -> KnownLetter | None:
        """None."""
        return None

    def open_after(
        self, partition: int, after: int, chosen: LetterFilter, limit: int, *, foreign: bool = False
    ) -> Sequence[KnownLetter]:
        """None."""
        return ()

    def open_of(self, partition: int, consumer: str, below: int, limit: int) -> Sequence[KnownLetter]:
        """None."""
        return ()

    def open_number(self, partition: int) -> int:
        """None."""
        return 0

    def forgettable(self, partition: int, before_ms: int, limit: int) -> Sequence[tuple[LetterId, Sequence[bytes]]]:
        """None."""
        return ()


class NoTasks:
    """No tasks."""

    async def catch_up(self, end: int) -> None:
        """Nothing to wait for."""

    def running(self, partition: int) -> Sequence[OperatorTask]:
        """None."""
        return ()

    def note(self, task: str) -> str:
        """None."""
        return ""

    def edit(self, letter: LetterId) -> int | None:
        """None."""
        return None

    def edit_keys(self, letter: LetterId) -> Sequence[bytes]:
        """None."""
        return ()

    def forgettable(self, before_ms: int) -> Sequence[Sequence[bytes]]:
        """None."""
        return ()


class NoValues:
    """No bytes."""

    async def read(self, partition: int, places: Mapping[int, ValuePlace]) -> Mapping[int, SourceRecord]:
        """All are gone."""
        return {}

    async def read_foreign(self, partition: int, offsets: Sequence[int]) -> Mapping[int, SourceRecord]:
        """All are gone."""
        return {}

    async def read_on(self, partition: int, start: int) -> tuple[Sequence[SourceRecord], int]:
        """Nothing."""
        return (), start
