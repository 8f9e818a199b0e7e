"""What the engine asks about dead letters and tasks, answered by the read models; and the bytes of dead letters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from app.delivery.dead_letter_record import Holder, ValuePlace
from app.delivery.headers import buried_event
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import LetterFilter, OperatorTask
from app.delivery.pipeline import Pipeline
from app.delivery.record import SourceRecord
from app.engine.flow import StatesUnavailable
from app.engine.letter_sources import KnownLetter, ValuesUnavailable
from app.flows.states import NOTICE_SECONDS, followed
from app.kafka.admin import KafkaAccessError
from app.kafka.daemon_threads import CallHangs, in_background, in_daemon_thread
from app.kafka.topic_reader import SettledEvents
from app.readmodels import ReadModels, ReadModelUnavailable
from app.readmodels.owner_letters import FoundLetter
from app.settings import KafkaSettings

T = TypeVar("T")

# Records of the dead-letter topic that are read in one go.
READ_ON = 500
# Records of shown values that are removed in one go.
SHOWN_AT_ONCE = 500


class FollowedLetters:
    """``Letters`` of the engine."""

    def __init__(self, pipeline: Pipeline, read_models: ReadModels) -> None:
        self._topic = pipeline.letters_topic
        self._read_models = read_models

    async def catch_up(self, partition: int, end: int) -> None:
        """Return when everything below ``end`` has been read."""
        await followed(self._read_models, self._topic, partition, end)

    async def available(self, partition: int) -> None:
        """Return when the index can answer again. Its file was lost and is rebuilt from the topic."""
        await asyncio.sleep(NOTICE_SECONDS)
        await self.catch_up(partition, 0)

    def applied(self, partition: int) -> int:
        """Everything below this offset has been read."""
        return self._read_models.position(self._topic, partition)

    def record(self, letter: LetterId) -> KnownLetter | None:
        """The record of a dead letter."""
        found = _asked(lambda: self._read_models.letters.record(letter))
        return None if found is None else KnownLetter(letter, *found)

    def open_after(
        self, partition: int, after: int, chosen: LetterFilter, limit: int, *, foreign: bool = False
    ) -> Sequence[KnownLetter]:
        """Open dead letters with a higher offset, lowest first."""
        letters = self._read_models.letters
        return _known(_asked(lambda: letters.open_after(partition, after, chosen, limit, foreign=foreign)))

    def open_of(self, partition: int, consumer: str, below: int, limit: int) -> Sequence[KnownLetter]:
        """Open dead letters of a consumer with a lower offset, lowest first."""
        return _known(_asked(lambda: self._read_models.letters.open_of(partition, consumer, below, limit)))

    def open_number(self, partition: int) -> int:
        """How many dead letters of a partition are open."""
        return _asked(lambda: self._read_models.letters.open_number(partition))

    def forgettable(self, partition: int, before_ms: int, limit: int) -> Sequence[tuple[LetterId, Sequence[bytes]]]:
        """Closed dead letters whose record was written before a time, with the keys of their records."""
        found = _asked(lambda: self._read_models.letters.forgettable(partition, before_ms, limit))
        return [(one.id, one.keys) for one in found]


class FollowedTasks:
    """``Tasks`` of the engine."""

    def __init__(self, pipeline: Pipeline, read_models: ReadModels) -> None:
        self._topic = pipeline.tasks_topic
        self._read_models = read_models

    async def catch_up(self, end: int) -> None:
        """Return when everything below ``end`` has been read."""
        await followed(self._read_models, self._topic, 0, end)

    def running(self, partition: int) -> Sequence[OperatorTask]:
        """The tasks that the partition's owner has to work on; oldest first."""
        return _asked(lambda: self._read_models.tasks.running(partition))

    def note(self, task: str) -> str:
        """The note of a task."""
        try:
            known = self._read_models.tasks.task(task)
        except ReadModelUnavailable:
            return ""
        return "" if known is None else known.note

    def edit(self, letter: LetterId) -> int | None:
        """Where a dead letter's newest edited bytes stand."""
        found = _asked(lambda: self._read_models.tasks.edit(letter))
        return None if found is None else found.offset

    def edit_keys(self, letter: LetterId) -> Sequence[bytes]:
        """The keys of all edits of a dead letter."""
        return _asked(lambda: self._read_models.tasks.edit_keys(letter))

    def forgettable(self, before_ms: int) -> Sequence[Sequence[bytes]]:
        """The keys of tasks that have ended, and of the records that values were shown, before a time."""
        ended = _asked(lambda: self._read_models.tasks.ended_before(before_ms))
        shown = _asked(lambda: self._read_models.audit.shown_before(before_ms, SHOWN_AT_ONCE))
        return [*(known.keys() for known in ended), *([key] for key in shown)]


class ValuesByPosition:
    """``LetterValues`` of the engine. It keeps its connections, because a redrive asks several times a second."""

    def __init__(self, kafka: KafkaSettings, pipeline: Pipeline) -> None:
        self._kafka = kafka
        self._pipeline = pipeline
        self._readers: dict[str, SettledEvents] = {}
        self._one_at_a_time = asyncio.Lock()

    async def close(self) -> None:
        """Leave the brokers; no read is under way."""
        readers, self._readers = list(self._readers.values()), {}
        for reader in readers:
            with contextlib.suppress(CallHangs):
                await in_daemon_thread("close a consumer", reader.close, self._kafka.request_seconds)

    async def read(self, partition: int, places: Mapping[int, ValuePlace]) -> Mapping[int, SourceRecord]:
        """The records that became dead letters, by their offset in the main topic, without those that are gone.

        Raises:
            ValuesUnavailable: no answer from the brokers.
        """
        topic = self._pipeline.topic
        in_dlq = {place.offset: offset for offset, place in places.items() if place.holder is Holder.DLQ}
        in_main = [place.offset for place in places.values() if place.holder is Holder.MAIN]
        found: dict[int, SourceRecord] = {}
        for at, letter in (await self._at(self._pipeline.dlq_topic, partition, in_dlq)).items():
            event = buried_event(letter, topic, in_dlq[at])
            if event is not None:
                found[event.offset] = event
        return found | await self._at(topic, partition, in_main)

    async def read_foreign(self, partition: int, offsets: Sequence[int]) -> Mapping[int, SourceRecord]:
        """Records of the dead-letter topic as they stand there."""
        return await self._at(self._pipeline.dlq_topic, partition, offsets)

    async def read_on(self, partition: int, start: int) -> tuple[Sequence[SourceRecord], int]:
        """Records of the dead-letter topic from an offset on, and the offset at which to go on."""
        return await self._ask(self._pipeline.dlq_topic, lambda reader: reader.read_on(partition, start, READ_ON))

    async def _at(self, topic: str, partition: int, offsets: Iterable[int]) -> dict[int, SourceRecord]:
        wanted = sorted(offsets)
        return await self._ask(topic, lambda reader: reader.read(partition, wanted)) if wanted else {}

    async def _ask(self, topic: str, question: Callable[[SettledEvents], T]) -> T:
        patience = self._kafka.request_seconds
        async with self._one_at_a_time:
            reader = self._readers.get(topic)
            if reader is None:
                reader = SettledEvents(self._kafka, self._pipeline, topic=topic, patience_seconds=patience)
                self._readers[topic] = reader
            try:
                # Up to two answers are waited for: the bounds of the partition, and its records.
                return await in_daemon_thread(f"read {topic} by position", lambda: question(reader), 2 * patience)
            except KafkaAccessError as error:
                self._readers.pop(topic, None)
                if not isinstance(error, CallHangs):
                    in_background("close a consumer", reader.close)
                raise ValuesUnavailable(str(error)) from error
            except asyncio.CancelledError:
                self._readers.pop(topic, None)  # its call goes on in the thread
                raise


def _asked(question: Callable[[], T]) -> T:
    try:
        return question()
    except ReadModelUnavailable as error:
        raise StatesUnavailable(str(error)) from error


def _known(found: Iterable[FoundLetter]) -> list[KnownLetter]:
    return [KnownLetter(letter, epoch, record) for letter, epoch, record in found]
