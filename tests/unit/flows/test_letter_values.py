"""Where the bytes of a dead letter are read, and when they are not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from app.delivery.consumer_record import ConsumerState
from app.delivery.dead_letter_record import Holder, LetterStatus, ValuePlace
from app.delivery.letter_id import LetterId
from app.flows.letter_editing import open_for_edit
from app.flows.letter_values import LetterValues, is_erased
from app.profile.edited_value import EditRefused
from app.readmodels import ReadModels
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings
from tests.unit.flows.test_task_writing import Models
from tests.unit.readmodels.test_letter_index import PIPELINE, Case, letter

ID = LetterId(0, 7)
KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")


def listed(letter_id: LetterId = ID, **changes: Any) -> ListedLetter:
    return ListedLetter(letter_id, ShownStatus.OPEN, letter(**changes))


@pytest.mark.parametrize(
    ("place", "edit", "expected"),
    [
        (ValuePlace(Holder.DLQ, 3), None, ValuePlace(Holder.DLQ, 3)),
        (ValuePlace(Holder.DLQ, 3), 9, ValuePlace(Holder.DLQ, 9)),
        (ValuePlace(Holder.DLQ, 12), 9, ValuePlace(Holder.DLQ, 12)),  # it was redriven after the edit, and failed
        (ValuePlace(Holder.MAIN, 12), 9, ValuePlace(Holder.DLQ, 9)),
        (None, None, None),
    ],
)
def test_the_newest_edit_is_read_unless_the_dead_letter_is_newer(
    place: ValuePlace | None, edit: int | None, expected: ValuePlace | None
) -> None:
    assert LetterValues(KAFKA, PIPELINE, lambda _: edit).place(listed(place=place)) == expected


def test_a_record_of_another_program_is_read_where_it_stands() -> None:
    foreign = listed(LetterId(2, 8, foreign=True))
    assert LetterValues(KAFKA, PIPELINE, lambda _: None).place(foreign) == ValuePlace(Holder.DLQ, 8)


def test_values_are_hidden_once_the_profile_was_deleted(tmp_path: Path) -> None:
    models = Models(Case(tmp_path))
    models.records[0, "C-1"] = ConsumerState(9, "DE", erased=9)
    read = cast(ReadModels, models)
    assert is_erased(read, listed())
    assert not is_erased(read, listed(LetterId(0, 10)))  # it came after the deletion
    assert not is_erased(read, listed(consumer="C-2"))


@pytest.mark.parametrize(
    ("one", "why"), [(letter(has_key=False), "no readable key"), (letter(), "the bytes of 0-7 are gone")]
)
def test_an_edit_says_why_only_a_discard_is_left(tmp_path: Path, one: Any, why: str) -> None:
    case = Case(tmp_path)
    case.write((ID, 1, one))
    models = Models(case)
    with pytest.raises(EditRefused, match=why) as refused:
        open_for_edit(KAFKA, PIPELINE, cast(ReadModels, models), "0-7")
    assert "only be discarded" in str(refused.value)
    assert one.status is LetterStatus.OPEN
