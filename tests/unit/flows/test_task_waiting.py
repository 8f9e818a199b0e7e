"""Waiting for a task: what is said meanwhile, and that the numbers at the end are the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from app.flows import task_waiting
from app.flows.task_waiting import NO_WORKER, TaskEnded, wait_for_task
from app.readmodels import ReadModels
from app.readmodels.tasks import TaskProgress, TaskState
from app.settings import KafkaSettings
from app.settings.pipelines import pipeline_of

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")
PIPELINE = pipeline_of(KAFKA)


class Models:
    """Answers from lists, one entry for each look; the last one stays."""

    def __init__(self, *states: TaskState | None, troubles: tuple[str | None, ...] = (None,)) -> None:
        self.tasks = self
        self._states, self._troubles = list(states), list(troubles)
        self.positions: Iterator[int] = iter([10])
        self.handled = 1

    def state(self, task: str) -> TaskState | None:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    def trouble(self) -> str | None:
        return self._troubles.pop(0) if len(self._troubles) > 1 else self._troubles[0]

    def progress(self, task: str) -> TaskProgress:
        return TaskProgress(2, self.handled, {"synced": self.handled}, 2 - self.handled)

    def position(self, topic: str, partition: int) -> int:
        position = next(self.positions)
        if position == 10:
            self.handled = 2
        return position


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_waiting, "LOOK_SECONDS", 0)
    monkeypatch.setattr(task_waiting, "WORKER_SECONDS", -1)
    monkeypatch.setattr(task_waiting, "_ends", lambda *_: {("letters", 0): 10})


def waited(models: Models) -> tuple[TaskEnded, list[str], list[TaskState]]:
    told: list[str] = []
    states: list[TaskState] = []
    ended = wait_for_task(
        KAFKA,
        PIPELINE,
        cast(ReadModels, models),
        "t",
        wrote="letters",
        on_progress=lambda state, _: states.append(state),
        on_trouble=told.append,
    )
    return ended, told, states


def test_the_numbers_are_those_of_all_records_that_were_written_before_the_end() -> None:
    models = Models(TaskState.RUNNING, TaskState.DONE)
    models.positions = iter([8, 9, 10])
    ended, told, states = waited(models)
    assert ended == TaskEnded(TaskState.DONE, TaskProgress(2, 2, {"synced": 2}, 0))
    assert (told, states) == ([], [TaskState.RUNNING, TaskState.DONE])


def test_a_cancelled_task_is_not_waited_for() -> None:
    assert waited(Models(TaskState.PAUSED, TaskState.CANCELLED))[0].state is TaskState.CANCELLED


def test_it_says_once_that_no_worker_is_there_and_when_one_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, False, True, None])
    monkeypatch.setattr(task_waiting, "a_worker_is_running", lambda *_: next(answers))
    waiting = TaskState.WAITING
    assert waited(Models(None, waiting, waiting, waiting, waiting, TaskState.DONE))[1] == [NO_WORKER, ""]


def test_it_says_why_nothing_is_read() -> None:
    running = TaskState.RUNNING
    models = Models(running, running, running, running, TaskState.DONE, troubles=("away", "away", None))
    assert waited(models)[1] == ["away", ""]
