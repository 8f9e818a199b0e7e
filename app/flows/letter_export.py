"""Dead letters with their bytes, for ``dlq show``, ``dlq export`` and the API.

Values of deleted profiles are never shown. Before a person sees values, a record that says so is written to the tasks
topic and acknowledged; if that fails, nothing is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice

from app.delivery.errors import SYNC_ERASED
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Selection
from app.delivery.pipeline import Pipeline
from app.delivery.values_shown import MOST_SHOWN, ValuesShown, new_shown_key
from app.flows.letter_values import LetterValues, edits_of, is_erased
from app.flows.redrive_preview import open_letters
from app.kafka.acknowledged import WRITE_SECONDS, AcknowledgedWriter
from app.kafka.topic_reader import PATIENCE_SECONDS
from app.profile.exported_letter import export_line, export_text
from app.readmodels import ReadModels
from app.readmodels.letter_value_texts import ShownValue
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings

GONE = "gone: Kafka does not hold the bytes any more. The dead letter can only be discarded"
ERASED = "not shown: the consumer's profile was deleted after this event"


def read_shown_values(
    kafka: KafkaSettings,
    pipeline: Pipeline,
    models: ReadModels,
    listed: ListedLetter,
    *,
    seen_by: str | None,
    patience_seconds: float = PATIENCE_SECONDS,
    write_seconds: float = WRITE_SECONDS,
) -> ShownValue:
    """The bytes of one dead letter.

    Args:
        seen_by: who will see the values; None: they are masked.

    Raises:
        KafkaAccessError: the topics could not be read, or the record that values are shown was not acknowledged.
    """
    masked = seen_by is None
    if _is_erased(models, listed, masked=masked):
        return ShownValue(None, ERASED, masked=masked)
    with LetterValues(kafka, pipeline, edits_of(models), patience_seconds=patience_seconds) as values:
        event = values.read([listed]).get(listed.id)
        original = values.original(listed)
    if seen_by is not None and (event is not None or original is not None):
        record_shown(AcknowledgedWriter(kafka, seconds=write_seconds), pipeline, seen_by, [listed.id])
    return ShownValue(event, "" if event is not None else GONE, original, masked=masked)


def export_letters(
    kafka: KafkaSettings, pipeline: Pipeline, models: ReadModels, selection: Selection, *, seen_by: str | None
) -> Iterator[tuple[LetterId, str | None]]:
    """The line of each open dead letter of a selection; None: its bytes are gone or not shown.

    Args:
        seen_by: who will see the values; None: they are masked.

    Raises:
        KafkaAccessError: see ``read_shown_values``.
    """
    letters, masked, writer = open_letters(models, selection), seen_by is None, AcknowledgedWriter(kafka)
    with LetterValues(kafka, pipeline, edits_of(models)) as values:
        while page := list(islice(letters, MOST_SHOWN)):
            records = values.read([one for one in page if not _is_erased(models, one, masked=masked)])
            if seen_by is not None and records:
                record_shown(writer, pipeline, seen_by, sorted(records))
            for one in page:
                record = records.get(one.id)
                yield one.id, None if record is None else export_text(export_line(one.id, record, masked=masked))


def record_shown(writer: AcknowledgedWriter, pipeline: Pipeline, by: str, letters: Sequence[LetterId]) -> None:
    """Write who sees the values of dead letters, before they are shown; at most ``MOST_SHOWN`` of them.

    Raises:
        KafkaAccessError: it was not acknowledged.
    """
    shown = ValuesShown(by, int(time.time() * 1000), tuple(letters))
    writer.write(pipeline.tasks_topic, 0, new_shown_key(shown.at_ms).encode(), shown.encode())


def _is_erased(models: ReadModels, listed: ListedLetter, *, masked: bool) -> bool:
    """Masked values need no look at the consumer's record, which a command would have to read in first."""
    if masked:
        return listed.letter.settlement.reason == SYNC_ERASED.code
    return is_erased(models, listed)
