"""Edits of dead letters: the new bytes go to the dead-letter topic, then a record of the tasks topic names them.

The owner of the partition runs the newest edit when the dead letter is redriven. The key never changes, and the bytes
that the producer sent stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.delivery.consumer_record import ConsumerState
from app.delivery.headers import cut, edited_headers
from app.delivery.letter_selection import check_note
from app.delivery.operator_task import BY_BYTES, EditKey, Note
from app.delivery.pipeline import Pipeline
from app.delivery.record import SourceRecord, is_text
from app.flows.letter_values import LetterValues, edits_of, is_erased
from app.flows.redrive_preview import state_of
from app.flows.task_writing import resolve
from app.kafka.acknowledged import WRITE_SECONDS, AcknowledgedWriter
from app.kafka.topic_reader import PATIENCE_SECONDS
from app.profile.edited_value import NotEditable
from app.readmodels import ReadModels
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class Editable:
    """A dead letter that may be edited. ``event``: what a redrive would run now. ``state``: its consumer's record."""

    listed: ListedLetter
    event: SourceRecord
    state: ConsumerState | None


@dataclass(frozen=True, slots=True)
class WrittenEdit:
    """``offset``: of the new bytes in the dead-letter topic. ``said_at``: of the record that names them, in the tasks
    topic."""

    offset: int
    said_at: int


def open_for_edit(
    kafka: KafkaSettings,
    pipeline: Pipeline,
    models: ReadModels,
    text: str,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Editable:
    """The open dead letter that a text names, with its bytes.

    Raises:
        SelectionError: it names none, several, or one that is not open.
        NotEditable: this dead letter cannot be edited.
        KafkaAccessError: its bytes could not be read.
    """
    [letter] = resolve(models, [text]).ids
    listed = models.letters.get(letter)
    if listed is None:
        raise NotEditable(f"{letter} was forgotten in the meantime")
    if letter.foreign:
        raise NotEditable(f"{letter} was written by another program; publish the corrected event instead")
    if not listed.letter.has_key:
        raise NotEditable(
            f"{letter} has no readable key, and an edit never changes the key: it can only be discarded. Have the "
            "producer send the event with its consumerId as the key."
        )
    if is_erased(models, listed):
        raise NotEditable(f"{letter}: the consumer's profile was deleted after this event; it can only be discarded")
    with LetterValues(kafka, pipeline, edits_of(models), patience_seconds=patience_seconds) as values:
        event = values.read([listed]).get(letter)
    if event is None or not is_text(event.key):
        raise NotEditable(f"the bytes of {letter} are gone from Kafka; it can only be discarded")
    return Editable(listed, event, state_of(models, listed))


def write_edit(
    kafka: KafkaSettings,
    pipeline: Pipeline,
    opened: Editable,
    value: bytes,
    note: Note,
    *,
    seconds: float = WRITE_SECONDS,
) -> WrittenEdit:
    """Write the new bytes, then say where they are. Of two edits, the one with the higher offset counts.

    Raises:
        SelectionError: the note is too long.
        KafkaAccessError: one of both was not acknowledged. Then the edit may or may not count.
    """
    check_note(note.note)
    letter, event = opened.listed.id, replace(opened.event, value=value)
    writer = AcknowledgedWriter(kafka, seconds=seconds)
    offset = writer.write(pipeline.dlq_topic, letter.partition, event.key, value, edited_headers(event))
    said = replace(note, by=cut(note.by, BY_BYTES), note=note.note.strip())
    return WrittenEdit(offset, writer.write(pipeline.tasks_topic, 0, EditKey(letter, offset).encode(), said.encode()))
