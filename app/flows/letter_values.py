"""Reads the bytes of dead letters for commands and pages: from the dead-letter topic, or from the main topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from app.delivery.dead_letter_record import Holder, ValuePlace
from app.delivery.errors import SYNC_ERASED
from app.delivery.headers import buried_event, lost_its_value
from app.delivery.letter_id import LetterId
from app.delivery.pipeline import Pipeline
from app.delivery.record import SourceRecord
from app.flows.redrive_preview import state_of
from app.kafka.topic_reader import PATIENCE_SECONDS, SettledEvents
from app.readmodels import ReadModels
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings

Edited = Callable[[LetterId], int | None]


class LetterValues:
    """Reads events by the position of their bytes. A context manager; its methods raise ``KafkaAccessError``.

    Args:
        edit: where the newest edited bytes of a dead letter stand in the dead-letter topic; None: it was not edited.
        patience_seconds: for each answer of Kafka.
    """

    def __init__(
        self, kafka: KafkaSettings, pipeline: Pipeline, edit: Edited, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._kafka = kafka
        self._pipeline = pipeline
        self._edit = edit
        self._patience = patience_seconds
        self._stack = ExitStack()
        self._readers: dict[str, SettledEvents] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, letters: Iterable[ListedLetter]) -> dict[LetterId, SourceRecord]:
        """The events as a redrive would run them, without those whose bytes are gone. A foreign record as it stands."""
        listed = list(letters)
        found = self._read_all({one.id: place for one in listed if (place := self.place(one)) is not None})
        # The dead-letter topic may have lost bytes that the main topic still has; an edit stands nowhere else.
        lost = {
            one.id: one.letter
            for one in listed
            if one.id not in found and not one.id.foreign and one.letter.may_stand_in_main(self.place(one))
        }
        in_main = self._read_all({one: ValuePlace(Holder.MAIN, one.offset) for one in lost})
        found |= {letter: record for letter, record in in_main.items() if lost[letter].is_about(record.key)}
        return found

    def _read_all(self, places: dict[LetterId, ValuePlace]) -> dict[LetterId, SourceRecord]:
        found: dict[LetterId, SourceRecord] = {}
        for partition in sorted({letter.partition for letter in places}):
            here = {letter: place for letter, place in places.items() if letter.partition == partition}
            found |= self._read(partition, here)
        return found

    def original(self, listed: ListedLetter) -> SourceRecord | None:
        """The event as its producer sent it, if it was edited; None: it was not, or the bytes are gone."""
        letter, place = listed.letter, listed.letter.original
        if place is None and self._edit(listed.id) is not None:
            place = letter.place
        return None if place is None else self._read(listed.id.partition, {listed.id: place}).get(listed.id)

    def place(self, listed: ListedLetter) -> ValuePlace | None:
        """Where the bytes stand that a redrive would run; None: they are gone."""
        if listed.id.foreign:
            return ValuePlace(Holder.DLQ, listed.id.offset)
        place, edit = listed.letter.place, self._edit(listed.id)
        newest = place.offset if place is not None and place.holder is Holder.DLQ else -1
        return ValuePlace(Holder.DLQ, edit) if edit is not None and edit > newest else place

    def _read(self, partition: int, places: dict[LetterId, ValuePlace]) -> dict[LetterId, SourceRecord]:
        topic, dlq = self._pipeline.topic, self._pipeline.dlq_topic
        in_dlq = self._at(dlq, partition, [one.offset for one in places.values() if one.holder is Holder.DLQ])
        in_main = self._at(topic, partition, [one.offset for one in places.values() if one.holder is Holder.MAIN])
        found: dict[LetterId, SourceRecord] = {}
        for letter, place in places.items():
            record = (in_dlq if place.holder is Holder.DLQ else in_main).get(place.offset)
            if record is None:
                continue
            event: SourceRecord | None = record
            if letter.foreign:
                event = None if lost_its_value(record) else record
            elif place.holder is Holder.DLQ:
                event = buried_event(record, topic, letter.offset)
            if event is not None:
                found[letter] = event
        return found

    def _at(self, topic: str, partition: int, offsets: Sequence[int]) -> dict[int, SourceRecord]:
        if not offsets:
            return {}
        reader = self._readers.get(topic)
        if reader is None:
            reader = self._stack.enter_context(
                SettledEvents(self._kafka, self._pipeline, topic=topic, patience_seconds=self._patience)
            )
            self._readers[topic] = reader
        return reader.read(partition, offsets)


def edits_of(models: ReadModels) -> Edited:
    """Where the newest edits stand, from the read models."""

    def edit(letter: LetterId) -> int | None:
        found = models.tasks.edit(letter)
        return None if found is None else found.offset

    return edit


def is_erased(models: ReadModels, listed: ListedLetter) -> bool:
    """Whether the consumer's profile was deleted after the event, so that its values are not shown.

    A foreign record has no place among the consumer's events, so any deletion counts.
    """
    if listed.letter.settlement.reason == SYNC_ERASED.code:
        return True
    consumer = listed.letter.settlement.consumer_id
    if listed.id.foreign and consumer is not None:
        return models.was_erased(consumer)
    state = state_of(models, listed)
    return state is not None and state.erased >= listed.id.offset
