"""Operators' tasks: which an owner has to work on, what each is doing, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.delivery.dead_letter_record import HistoryLine, LetterStatus
from app.delivery.letter_id import LetterId
from app.delivery.operator_task import Action, EditKey, LetterFilter, Note, OperatorTask, Selection, TaskEnd, TaskKey
from app.readmodels import ReadModelUnavailable
from app.readmodels.batch import ReadBatch
from app.readmodels.tasks import TaskProgress, TaskState
from tests.unit.readmodels.test_letter_index import PIPELINE, Case, letter

TASKS = PIPELINE.tasks_topic
ME = Note("me", 50)


class Tasks(Case):
    """A case whose tasks topic is written too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._offset = 0

    def say(self, *records: tuple[TaskKey | EditKey, Any]) -> None:
        batch = ReadBatch(PIPELINE)
        for key, content in records:
            self._offset += 1
            batch.add(TASKS, 0, self._offset, key.encode(), content.encode() if content is not None else None)
        assert batch.unreadable == []
        self.store.apply(batch)

    def running(self, partition: int) -> list[str]:
        return [task.id for task in self.tasks.running(partition)]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Tasks]:
    one = Tasks(tmp_path)
    yield one
    one.store.close()


def task(task_id: str, **changes: Any) -> OperatorTask:
    made = OperatorTask(task_id, Action.REDRIVE, Selection(filter=LetterFilter(market="DE")), 10, "me")
    return replace(made, **{"matched": {0: 2, 1: 1}} | changes)


def test_an_owner_works_on_what_is_neither_paused_cancelled_nor_ended_there_oldest_first(case: Tasks) -> None:
    case.say(
        (TaskKey("young"), task("young", created_ms=30)),
        (TaskKey("old"), task("old", created_ms=20)),
        (TaskKey("over"), task("over")),
        (TaskKey("over", "cancel"), ME),
    )
    assert case.running(0) == ["old", "young"]
    case.say((TaskKey("old", "end", 0), TaskEnd(60)), (TaskKey("young", "pause"), ME))
    assert (case.running(0), case.running(1)) == ([], ["old"])
    case.say((TaskKey("young", "pause"), replace(ME, on=False)))
    assert (case.running(0), case.running(1)) == (["young"], ["old", "young"])
    case.say((TaskKey("young"), None))
    assert (case.running(0), case.running(1)) == ([], ["old"])


def test_an_owner_is_not_told_of_tasks_that_name_only_others(case: Tasks) -> None:
    case.say(
        (TaskKey("ids"), task("ids", selection=Selection((LetterId(1, 5),)))),
        (TaskKey("repair"), task("repair", action=Action.REPAIR, matched={}, consumers={2: ("C-1",)})),
    )
    assert [case.running(partition) for partition in (0, 1, 2)] == [[], ["ids"], ["repair"]]


def test_an_owner_is_told_nothing_while_the_tasks_are_being_read_in(case: Tasks) -> None:
    case.progress.build([TASKS], {(TASKS, 0): 5})
    with pytest.raises(ReadModelUnavailable):
        case.tasks.running(0)
    case.progress.moved({(TASKS, 0): 5})
    assert case.running(0) == []


def test_a_task_waits_runs_pauses_and_is_done_when_every_named_partition_has_ended_it(case: Tasks) -> None:
    case.say((TaskKey("t"), task("t")))
    assert case.tasks.state("t") is TaskState.WAITING
    case.write((LetterId(0, 1), 1, letter(history=(HistoryLine(1, "redrive", "synced", task="t"),))))
    assert case.tasks.state("t") is TaskState.RUNNING
    case.say((TaskKey("t", "pause"), ME))
    assert case.tasks.state("t") is TaskState.PAUSED
    case.say((TaskKey("t", "end", 0), TaskEnd(60)), (TaskKey("t", "cancel"), ME))
    assert case.tasks.state("t") is TaskState.CANCELLED
    case.say((TaskKey("t", "end", 1), TaskEnd(70)))
    assert case.tasks.state("t") is TaskState.DONE
    assert case.tasks.state("none") is None


def test_progress_counts_what_came_of_each_dead_letter_although_another_task_handled_it_later(case: Tasks) -> None:
    def handled(task_id: str, outcome: str) -> HistoryLine:
        return HistoryLine(1, "redrive", outcome, task=task_id)

    case.say((TaskKey("t"), task("t", matched={0: 3, 1: 4})))
    assert case.tasks.progress("t") == TaskProgress(7, 0, {}, 7)
    closed = letter(LetterStatus.SETTLED, history=(handled("t", "synced"),))
    twice = letter(LetterStatus.SETTLED, history=(handled("t", ""), handled("u", "synced")))
    failed = letter(history=(handled("t", "failed"),))
    case.write((LetterId(0, 1), 1, closed), (LetterId(0, 2), 1, twice), (LetterId(1, 1), 1, failed))
    # Four were not handled yet, and one that was is open again.
    assert case.tasks.progress("t") == TaskProgress(7, 3, {"synced": 1, "open": 1, "failed": 1}, 5)
    # The end counts for its partition, also when the dead letters are forgotten.
    case.say((TaskKey("t", "end", 0), TaskEnd(60, {"synced": 2})))
    case.write((LetterId(0, 1), 1, None), (LetterId(0, 2), 1, None))
    assert case.tasks.progress("t") == TaskProgress(7, 3, {"synced": 2, "failed": 1}, 4)
    assert case.tasks.progress("none") is None


def test_the_progress_of_a_repair_counts_consumers(case: Tasks) -> None:
    repair = task("r", action=Action.REPAIR, matched={}, consumers={0: ("C-1", "C-2"), 3: ("C-3",)})
    case.say((TaskKey("r"), repair), (TaskKey("r", "end", 0), TaskEnd(60, {"repaired": 2})))
    assert case.tasks.progress("r") == TaskProgress(3, 2, {"repaired": 2}, 1)


def test_of_edits_the_one_with_the_highest_offset_counts(case: Tasks) -> None:
    one = LetterId(0, 5)
    case.say((EditKey(one, 9), Note("b", 2)), (EditKey(one, 7), Note("a", 1)), (EditKey(LetterId(0, 6), 99), ME))
    found = case.tasks.edit(one)
    assert found is not None
    assert (found.offset, found.note.by) == (9, "b")
    assert case.tasks.edit_keys(one) == (EditKey(one, 7).encode(), EditKey(one, 9).encode())
    assert case.tasks.edit(LetterId(0, 5, foreign=True)) is None


def test_old_tasks_can_be_forgotten_with_all_their_keys_the_task_last(case: Tasks) -> None:
    case.say(
        (TaskKey("done"), task("done")),
        (TaskKey("done", "end", 0), TaskEnd(60)),
        (TaskKey("done", "end", 1), TaskEnd(70)),
        (TaskKey("running"), task("running")),
        (TaskKey("cancelled"), task("cancelled")),
        (TaskKey("cancelled", "cancel"), replace(ME, at_ms=80)),
    )
    assert [one.task.id for one in case.tasks.ended_before(80)] == ["done"]
    assert [one.task.id for one in case.tasks.ended_before(81)] == ["cancelled", "done"]
    (done,) = case.tasks.ended_before(80)
    assert done.keys() == (b"done|end|0", b"done|end|1", b"done")
    assert [one.task.id for one in case.tasks.all(2)] == ["running", "done"]


def test_records_that_are_no_tasks_leave_what_was_there(case: Tasks) -> None:
    case.say((TaskKey("t"), task("t")))
    batch = ReadBatch(PIPELINE)
    odd = (
        (0, b"t", b"{}"),
        (0, b"t|pause", b"[]"),
        (0, b"t|end|x", b"{}"),
        (0, b"edit|0-1|2", b"x"),
        (1, b"t", None),
        (0, None, None),
    )
    for offset, (partition, key, value) in enumerate(odd, 100):
        batch.add(TASKS, partition, offset, key, value)
    assert len(batch.unreadable) == len(odd)
    case.store.apply(batch)
    assert case.running(0) == ["t"]
