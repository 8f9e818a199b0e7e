"""The outcome of every event, read from the consumer records in Kafka instead of asking the workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from app.delivery.outcome import Outcome
from app.delivery.pipeline import Pipeline
from app.demo.clients import Totals
from app.profile.entities import Catalog
from app.profile.event import ProfileEvent
from app.profile.event_reader import check_document, decode_document
from app.profile.samples.samples import sample_events, to_json
from app.readmodels import Followed, ReadModels, ReadModelUnavailable, wait_until_caught_up
from app.settings import KafkaSettings


class OutcomesUnreadable(Exception):
    """The state topics could not be read to their end; the text says why."""


def published_events(count: int, seed: int, catalog: Catalog) -> Iterator[ProfileEvent]:
    """The events of the demo as a worker reads them, with numbers in the form of their JSON."""
    for event in sample_events(count, seed):
        value = json.dumps(to_json(event)).encode()
        yield check_document(decode_document(value, event.event_id), catalog, event.event_id)


def read_outcomes(
    kafka: KafkaSettings, pipeline: Pipeline, consumer_ids: Iterable[str], totals: Totals, published: int
) -> Callable[[str], Outcome | None]:
    """Event ID -> outcome. None if it is not known: a consumer record keeps only the last few events.

    Nothing is read if the totals say that all events were synced.

    Raises:
        OutcomesUnreadable: the state topics could not be read to their end.
    """
    if totals.synced == totals.events == published:
        return lambda event_id: Outcome.SYNCED
    models = ReadModels(kafka, pipeline, None, topics=(Followed.STATE, Followed.CONSUMERS))
    models.start()
    try:
        wait_until_caught_up(models)
        found = {
            recent.event_id: Outcome(recent.outcome)
            for consumer_id in consumer_ids
            for _, state in models.consumer(consumer_id)
            for recent in state.recent
        }
    except ReadModelUnavailable as error:
        raise OutcomesUnreadable(f"The consumers' records cannot be read from Kafka: {error}") from error
    finally:
        models.stop()
    return found.get
