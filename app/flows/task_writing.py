"""Makes operators' tasks and writes them to the tasks topic. Commands and API use the same functions.

A task is a wish: the owner of each partition carries it out, so nothing here waits for it.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from app.delivery.headers import cut
from app.delivery.letter_id import LetterId
from app.delivery.letter_selection import NotFound, NotPossible, SelectionError, check_task, named
from app.delivery.operator_task import (
    BY_BYTES,
    NOTE_BYTES,
    Action,
    Note,
    OperatorTask,
    Selection,
    TaskKey,
    new_task_id,
)
from app.delivery.pipeline import Pipeline
from app.kafka.acknowledged import WRITE_SECONDS, write_acknowledged
from app.readmodels import ReadModels
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letter_texts import already_text, ids_text
from app.readmodels.letters import ListedLetter
from app.settings import KafkaSettings

# Dead letters that a preview looks at: those that failed last, so that the newest of the selection is among them.
PREVIEWED = 1_000
SAMPLE = 5
# An error names at most this many of the dead letters that it is about.
MOST_NAMED = 20

# The clocks of two machines never differ by more; a dead letter that was opened later than that is not believed.
MOST_SKEW_MS = 24 * 3_600_000

_OPEN = frozenset({ShownStatus.OPEN})


@dataclass(frozen=True, slots=True)
class Preview:
    """What a task would be about. ``newest_ms``: when the newest of its dead letters was opened."""

    selection: Selection
    matched: dict[int, int]
    sample: tuple[ListedLetter, ...]
    newest_ms: int

    @property
    def total(self) -> int:
        """How many dead letters."""
        return sum(self.matched.values())


def resolve(models: ReadModels, texts: Sequence[str]) -> Selection:
    """The open dead letters that texts name: IDs such as ``5-26``, or event IDs that have one dead letter.

    Raises:
        NotFound: a text names no dead letter.
        NotPossible: a text names several, or one that is not open.
    """
    found: list[LetterId] = []
    problems: list[str] = []
    kind: type[SelectionError] = NotPossible
    for text in dict.fromkeys(texts):
        letters = models.letters.find(text, 10)
        if not letters:
            kind = NotFound
            problems.append(f"{text}: no dead letter has this ID or event ID")
        elif len(letters) > 1:
            problems.append(f"{text}: several dead letters have this event ID: {ids_text(letters)}")
        elif letters[0].status is not ShownStatus.OPEN:
            problems.append(already_text(letters[0]))
        else:
            found.append(letters[0].id)
    if len(problems) > MOST_NAMED:
        problems[MOST_NAMED:] = [f"and {len(problems) - MOST_NAMED:,} more"]
    if problems:
        raise kind("\n".join(problems))
    return named(found)


def preview(models: ReadModels, selection: Selection) -> Preview:
    """What a task with this selection would be about now."""
    matched = models.letters.count_by_partition(selection)
    if selection.ids:
        ones = [one for one in map(models.letters.get, selection.ids) if one is not None]
    else:
        ones = list(models.letters.page(selection.filter, _OPEN, limit=PREVIEWED).items)
    newest = max((one.letter.opened_ms for one in ones), default=0)
    return Preview(selection, matched, tuple(ones[:SAMPLE]), newest)


def make_task(
    action: Action,
    seen: Preview,
    *,
    by: str,
    now_ms: int,
    note: str = "",
    rate: float | None = None,
    force: bool = False,
) -> OperatorTask:
    """The task. It takes what the preview saw, also if the clock of the worker that wrote it is ahead of ours.

    Raises:
        SelectionError: see ``check_task``.
    """
    check_task(action, by_id=bool(seen.selection.ids), note=note, force=force, rate=rate)
    return OperatorTask(
        id=new_task_id(action, now_ms),
        action=action,
        selection=seen.selection,
        created_ms=max(now_ms, min(seen.newest_ms, now_ms + MOST_SKEW_MS)),
        by=cut(by, BY_BYTES),
        note=cut(note.strip(), NOTE_BYTES),
        rate=rate,
        force=force,
        matched=seen.matched,
    )


def write_task(kafka: KafkaSettings, pipeline: Pipeline, task: OperatorTask, *, seconds: float = WRITE_SECONDS) -> int:
    """Write a task; Kafka has acknowledged it. Returns its offset.

    Raises:
        KafkaAccessError: it was not acknowledged.
    """
    return write_acknowledged(kafka, pipeline.tasks_topic, 0, TaskKey(task.id).encode(), task.encode(), seconds=seconds)


def write_note(
    kafka: KafkaSettings, pipeline: Pipeline, key: TaskKey, note: Note, *, seconds: float = WRITE_SECONDS
) -> int:
    """Write that a task is paused, resumed or cancelled.

    Raises:
        KafkaAccessError: it was not acknowledged.
    """
    return write_acknowledged(kafka, pipeline.tasks_topic, 0, key.encode(), note.encode(), seconds=seconds)


def this_user() -> str:
    """Who runs a command: ``user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
