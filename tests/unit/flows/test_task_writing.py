"""Operators' tasks: what a text selects, what a preview sees, and that a task takes what its preview saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.delivery.consumer_record import ConsumerState, FullState
from app.delivery.dead_letter_record import LetterStatus
from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import SelectionError, TaskRequest
from app.delivery.operator_task import NOTE_BYTES, Action, LetterFilter, Selection
from app.delivery.record import LATEST_MS
from app.flows.letter_values import is_erased
from app.flows.redrive_preview import MOST_COUNTED, count_superseded
from app.flows.task_requests import look
from app.flows.task_writing import make_task, preview, resolve
from app.readmodels import ReadModels
from tests.unit.readmodels.test_letter_index import Case, letter


class Models:
    """What the functions ask the read models."""

    def __init__(self, case: Case) -> None:
        self.letters = case.index
        self.tasks = case.tasks
        self.records: dict[tuple[int, str], ConsumerState] = {}

    def consumer_record(self, partition: int, consumer: str) -> tuple[int, ConsumerState] | None:
        state = self.records.get((partition, consumer))
        return None if state is None else (1, state)

    def was_erased(self, consumer: str) -> bool:
        return any(state.erased >= 0 for (_, one), state in self.records.items() if one == consumer)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    one = Case(tmp_path)
    yield one
    one.store.close()


@pytest.fixture
def models(case: Case) -> ReadModels:
    return cast(ReadModels, Models(case))


def put(case: Case, **letters: Any) -> None:
    """``p0_7=letter(...)``: dead letter 0-7."""
    for name, one in letters.items():
        partition, offset = name[1:].split("_")
        case.write((LetterId(int(partition), int(offset)), 1, one))


def test_texts_name_dead_letters_by_id_or_by_event(case: Case, models: ReadModels) -> None:
    put(case, p0_7=letter(event="a"), p1_8=letter(event="b"), p2_9=letter(event="b"))
    assert resolve(models, ["0-7", "a", "1-8"]) == Selection((LetterId(0, 7), LetterId(1, 8)))
    with pytest.raises(SelectionError, match=r"b: several dead letters have this event ID: [12]-[89], [12]-[89]"):
        resolve(models, ["b"])


def test_what_cannot_be_handled_is_named_all_at_once(case: Case, models: ReadModels) -> None:
    put(case, p0_7=letter(), p0_8=letter(LetterStatus.SETTLED, event="e-2"), p0_9=letter(event="e-3"))
    case.readmit(LetterId(0, 9))
    with pytest.raises(SelectionError) as refused:
        resolve(models, ["0-7", "0-8", "0-9", "3-3"])
    assert str(refused.value).splitlines() == [
        "0-8 is already settled: failed",
        "0-9 is already being handled",
        "3-3: no dead letter has this ID or event ID",
    ]


def test_a_task_takes_what_its_preview_saw_although_the_workers_clock_is_ahead(case: Case, models: ReadModels) -> None:
    put(case, p0_7=letter(opened_ms=900), p3_8=letter(opened_ms=500), p3_9=letter(market="FR", opened_ms=9_999))
    seen = preview(models, Selection(filter=LetterFilter(market="DE")))
    assert (seen.total, seen.matched) == (2, {0: 1, 3: 1})
    task = make_task(Action.REDRIVE, seen, by="ann@host", now_ms=100, note="é" * (NOTE_BYTES // 2))
    assert task.created_ms == 900
    assert all(task.selects(one.id, one.letter) for one in seen.sample)
    assert len(task.note.encode()) == NOTE_BYTES
    assert make_task(Action.REDRIVE, seen, by="", now_ms=1_000).created_ms == 1_000


def test_no_record_dates_a_task_in_the_future(case: Case, models: ReadModels) -> None:
    put(case, p0_7=letter(opened_ms=LATEST_MS), p0_8=letter(event="e-2"))
    task = make_task(Action.REDRIVE, preview(models, Selection(filter=LetterFilter(market="DE"))), by="", now_ms=5)
    assert task.created_ms == 5 + 86_400_000


def test_a_preview_of_ids_counts_only_open_ones(case: Case, models: ReadModels) -> None:
    put(case, p0_7=letter(), p0_8=letter(LetterStatus.DISCARDED, event="e-2"))
    assert preview(models, Selection((LetterId(0, 7), LetterId(0, 8)))).matched == {0: 1}


def test_superseded_ones_are_counted_from_the_consumer_records(case: Case, models: ReadModels) -> None:
    put(case, p0_7=letter(), p0_9=letter(event="e-2"), p1_1=letter(event="e-3", operation="DELETE"))
    known = cast(Models, models).records
    known[0, "C-1"] = ConsumerState(8, "DE", full=FullState(8, "UPDATE", "e-9"))
    known[1, "C-1"] = ConsumerState(8, "DE", deleted_forgotten=5)
    seen = preview(models, Selection())
    assert count_superseded(models, seen) == 1
    assert count_superseded(models, seen, force=True) == 0
    assert count_superseded(models, replace(seen, matched={0: MOST_COUNTED + 1})) is None
    assert count_superseded(models, preview(models, Selection((LetterId(0, 9),)))) == 0


def test_without_a_readable_key_only_discard_is_possible(case: Case, models: ReadModels) -> None:
    put(case, p0_7=letter(), p0_8=letter(event="e-2", consumer=None, has_key=False))
    with pytest.raises(SelectionError, match="without a readable key only discard is possible: 0-8"):
        look(models, TaskRequest(Action.REDRIVE, ids=("0-7", "0-8")))
    assert look(models, TaskRequest(Action.DISCARD, ids=("0-7", "0-8"))).total == 2
    assert look(models, TaskRequest(Action.REDRIVE, ids=("0-7",))).total == 1


@pytest.mark.parametrize(
    ("foreign", "state", "erased"),
    [
        (True, ConsumerState(9, "DE", erased=3), True),
        (True, ConsumerState(9, "DE"), False),
        (False, ConsumerState(9, "DE", erased=3), False),
        (False, ConsumerState(9, "DE", erased=8), True),
    ],
)
def test_values_are_hidden_after_a_deletion(
    case: Case, models: ReadModels, foreign: bool, state: ConsumerState, erased: bool
) -> None:
    """A foreign record has no place among the consumer's events, so any deletion hides it."""
    one = LetterId(0, 7, foreign=foreign)
    case.write((one, 1, letter()))
    cast(Models, models).records[0 if not foreign else 3, "C-1"] = state
    listed = models.letters.get(one)
    assert listed is not None
    assert is_erased(models, listed) is erased
