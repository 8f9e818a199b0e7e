"""What persons may have done over the API. The web server knows the questions; the worker brings the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from app.delivery.letter_selection import TaskChange, TaskRequest
from app.readmodels.letter_value_texts import ShownValue
from app.readmodels.letters import ListedLetter


class OperationsUnavailable(Exception):
    """Nothing can be done at present. The text says why, and whether something may have been written all the same."""


@dataclass(frozen=True, slots=True)
class MadeTask:
    """What became of a request. ``task``: None if no dead letter matched, so that no task was made.

    ``superseded``: about how many will be skipped; None if that was not counted.
    """

    task: str | None
    matched: int
    superseded: int | None


@dataclass(frozen=True, slots=True)
class EditedLetter:
    """Where the new bytes of a dead letter stand."""

    id: str
    topic: str
    offset: int


class Operations(Protocol):
    """Every method raises ``OperationsUnavailable``, and ``SelectionError`` for what is not allowed.

    ``by``: under which name it is recorded.
    """

    async def make_task(self, request: TaskRequest, by: str) -> MadeTask:
        """Have dead letters redriven or discarded. When it returns, the task can be asked for."""

    async def dry_run(self, request: TaskRequest) -> dict[str, Any]:
        """What a task would do; nothing is written."""

    async def change_task(self, task: str, change: TaskChange, by: str, note: str) -> None:
        """Pause, resume or cancel a task. Nothing is done if it is so already."""

    async def edit(self, letter: str, value: bytes, by: str, note: str) -> EditedLetter:
        """Give a dead letter another value; a redrive then runs that.

        Raises:
            EditRefused: the dead letter cannot be edited (``NotEditable``), or the new event would be invalid.
        """

    async def shown_value(self, listed: ListedLetter, seen_by: str | None) -> ShownValue:
        """The bytes of a dead letter. If ``seen_by`` is given, they are not masked, and that is recorded before."""
