"""Dead letters with their bytes, for ``dlq show`` and ``dlq export``. Values of deleted profiles are never shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import structlog

from app.delivery.errors import SYNC_ERASED
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Selection
from app.flows.letter_values import LetterValues, edits_of, is_erased
from app.flows.redrive_preview import open_letters
from app.flows.task_writing import this_user
from app.profile.exported_letter import export_line, export_text
from app.readmodels import ReadModels
from app.readmodels.letter_value_texts import ShownValue
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of

log = structlog.stdlib.get_logger(__name__)

_TOGETHER = 200
GONE = "gone: Kafka does not hold the bytes any more. The dead letter can only be discarded"
ERASED = "not shown: the consumer's profile was deleted after this event"


def read_shown_values(
    kafka: KafkaSettings, models: ReadModels, listed: ListedLetter, *, show_values: bool
) -> ShownValue:
    """The bytes of one dead letter.

    Raises:
        KafkaAccessError: the topics could not be read.
    """
    if _is_erased(models, listed, show_values=show_values):
        return ShownValue(None, ERASED, masked=not show_values)
    with LetterValues(kafka, pipeline_of(kafka), edits_of(models)) as values:
        event = values.read([listed]).get(listed.id)
        original = values.original(listed)
    if show_values and event is not None:
        log_shown([listed.id])
    return ShownValue(event, "" if event is not None else GONE, original, masked=not show_values)


def export_letters(
    kafka: KafkaSettings, models: ReadModels, selection: Selection, *, show_values: bool
) -> Iterator[tuple[LetterId, str | None]]:
    """The line of each open dead letter of a selection; None: its bytes are gone or not shown.

    Raises:
        KafkaAccessError: the topics could not be read.
    """
    letters = open_letters(models, selection)
    with LetterValues(kafka, pipeline_of(kafka), edits_of(models)) as values:
        while page := list(islice(letters, _TOGETHER)):
            shown = [one for one in page if not _is_erased(models, one, show_values=show_values)]
            records = values.read(shown)
            if show_values:
                log_shown(sorted(records))
            for one in page:
                record = records.get(one.id)
                line = None if record is None else export_text(export_line(one.id, record, masked=not show_values))
                yield one.id, line


def log_shown(letters: Sequence[LetterId]) -> None:
    """Log that a person saw the values of dead letters. An error level, because commands log nothing below it."""
    log.error("values were shown", by=this_user(), dead_letters=[str(one) for one in letters])


def _is_erased(models: ReadModels, listed: ListedLetter, *, show_values: bool) -> bool:
    """Masked values need no look at the consumer's record, which a command would have to read in first."""
    if not show_values:
        return listed.letter.settlement.reason == SYNC_ERASED.code
    return is_erased(models, listed)
