"""Nobody sees a value before a record says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Selection
from app.delivery.record import SourceRecord
from app.delivery.values_shown import ValuesShown, decode_shown, read_shown_key
from app.flows import letter_export
from app.flows.letter_export import export_letters, read_shown_values
from app.kafka.admin import KafkaAccessError
from app.readmodels import ReadModels
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings
from tests.unit.flows.test_task_writing import Models
from tests.unit.readmodels.test_letter_index import PIPELINE, Case, letter

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")
VALUE = b'{"eventId": "e-1", "consumer": {"FirstName": "Zacharias"}}'


class Values:
    """The bytes of every dead letter."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Values:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, letters: Iterable[ListedLetter]) -> dict[LetterId, SourceRecord]:
        return {one.id: SourceRecord("main", one.id.partition, one.id.offset, 0, b"C-1", VALUE, ()) for one in letters}

    def original(self, _: ListedLetter) -> None:
        return None


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[ValuesShown]:
    """The records that were written to the tasks topic."""
    found: list[ValuesShown] = []

    def write(_: object, topic: str, partition: int, key: bytes, value: bytes) -> int:
        assert (topic, partition) == (PIPELINE.tasks_topic, 0)
        assert read_shown_key(key) is not None
        found.append(decode_shown(value))
        return 0

    monkeypatch.setattr(letter_export, "LetterValues", Values)
    monkeypatch.setattr(letter_export.AcknowledgedWriter, "write", write)
    return found


@pytest.fixture
def models(tmp_path: Path) -> Iterator[ReadModels]:
    case = Case(tmp_path)
    case.write(*((LetterId(0, n), 1, letter(event=f"e-{n}")) for n in range(3)))
    yield cast(ReadModels, Models(case))
    case.store.close()


def one_of(models: ReadModels) -> ListedLetter:
    found = models.letters.get(LetterId(0, 1))
    assert found is not None
    return found


def refuse(*_: Any) -> int:
    raise KafkaAccessError("not acknowledged")


def test_a_masked_value_needs_no_record(models: ReadModels, written: list[ValuesShown]) -> None:
    shown = read_shown_values(KAFKA, PIPELINE, models, one_of(models), seen_by=None)
    assert (shown.masked, written) == (True, [])
    lines = [line or "" for _, line in export_letters(KAFKA, PIPELINE, models, Selection(), seen_by=None)]
    assert (len(lines), "Zacharias" in "".join(lines), written) == (3, False, [])


def test_a_record_says_who_sees_what(models: ReadModels, written: list[ValuesShown]) -> None:
    shown = read_shown_values(KAFKA, PIPELINE, models, one_of(models), seen_by="ann@host")
    assert shown.event is not None
    assert (shown.masked, shown.event.value) == (False, VALUE)
    assert [(one.by, one.letters) for one in written] == [("ann@host", (LetterId(0, 1),))]
    lines = [line or "" for _, line in export_letters(KAFKA, PIPELINE, models, Selection(), seen_by="bob@host")]
    assert all("Zacharias" in line for line in lines)
    assert [(one.by, len(one.letters)) for one in written[1:]] == [("bob@host", 3)]


def test_without_the_record_nothing_is_shown(
    models: ReadModels, written: list[ValuesShown], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_export.AcknowledgedWriter, "write", refuse)
    with pytest.raises(KafkaAccessError):
        read_shown_values(KAFKA, PIPELINE, models, one_of(models), seen_by="ann@host")
    with pytest.raises(KafkaAccessError):
        next(export_letters(KAFKA, PIPELINE, models, Selection(), seen_by="ann@host"))
