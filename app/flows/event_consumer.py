"""Whose event it is: the consumer of an event that a log line, a ticket or a page names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from app.delivery.letter_id import LetterId, read_letter_id
from app.delivery.pipeline import Pipeline
from app.kafka.topic_reader import SettledEvents
from app.readmodels import ReadModels
from app.settings import KafkaSettings


def consumers_of_event(kafka: KafkaSettings, pipeline: Pipeline, models: ReadModels, text: str) -> list[str]:
    """The consumers of the event that ``text`` names, a position such as ``5-26`` or an event ID; none if it is not
    known. A producer may have used an event ID for several consumers.

    Looks into dead letters, parked events and the recent events of every consumer; of a position also into the main
    topic.

    Raises:
        KafkaAccessError: the main topic cannot be read.
        ReadModelUnavailable: the file is being replaced.
    """
    position = read_letter_id(text)
    if position is not None and (consumer := _at(kafka, pipeline, models, position)) is not None:
        return [consumer]
    return sorted({*_known(models, text)})


def _at(kafka: KafkaSettings, pipeline: Pipeline, models: ReadModels, position: LetterId) -> str | None:
    if (listed := models.letters.get(position)) is not None:
        return listed.letter.settlement.consumer_id
    state = models.partitions().get(position.partition)
    if position.foreign or state is None:  # the main topic may not have such a partition
        return None
    if (parked := state.parked.get(position.offset)) is not None:
        return parked.consumer
    with SettledEvents(kafka, pipeline) as events:
        record = events.read(position.partition, [position.offset]).get(position.offset)
    with suppress(UnicodeDecodeError):
        return None if record is None or not record.key else record.key.decode()
    return None


def _known(models: ReadModels, event_id: str) -> Iterator[str]:
    for listed in models.letters.find(event_id):
        if (consumer := listed.letter.settlement.consumer_id) is not None:
            yield consumer
    for state in models.partitions().values():
        yield from (event.consumer for event in state.parked.values() if event.event_id == event_id)
    yield from models.consumers.of_event(event_id)
