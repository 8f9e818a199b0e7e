"""Operators' tasks in plain words, for the person on call: lines of at most 80 columns. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from textwrap import wrap

from app.delivery.operator_task import Action, LetterFilter, Note, OperatorTask
from app.delivery.outcome import Outcome
from app.delivery.wording import ago, clock
from app.profile.holdings.findings import Status
from app.readmodels.letter_texts import COLUMNS, dead_letters, fact_lines
from app.readmodels.tasks import KnownTask, TaskProgress, TaskState

# A selection names at most this many IDs.
_IDS_SHOWN = 5
_REPAIR = "profile-sync verify --repair"
# Outcomes of a redrive, and of a repair, that leave something to do: what they mean, and the next commands. {} is their
# number.
_AFTER_REDRIVE = {
    Outcome.PARTIAL.value: (
        "{} ended as partial: rows are missing in Marketing Cloud, and no dead letter is open for them. The first "
        "command shows which; when the cause is gone, the second one writes them.",
        ("profile-sync consumer --outcome partial", f"{_REPAIR} --outcome partial"),
    ),
}
_AFTER_REPAIR = {
    Status.DRIFTED.value: (
        "{} drifted: Marketing Cloud still differs from the last event. The log of the workers says why. When the "
        "cause is gone, repair again.",
        (_REPAIR,),
    ),
    Status.ERROR.value: (
        "{} error: they could not be compared. The log of the workers names the error code. When the cause is gone, "
        "repair again.",
        (_REPAIR,),
    ),
    Status.PENDING.value: ("{} pending: an event of each is under way. Verify them again later.", ()),
    Status.NO_HOME.value: ("{} no-home: CMT_DATA_EXTENSIONS does not cover their market.", ()),
}


def task_lines(known: KnownTask, state: TaskState, progress: TaskProgress, now_ms: int) -> Iterator[str]:
    """A task, how far it has come, and what is left to do."""
    task = known.task
    yield f"{task.id}  {state.value}"
    yield from wrap(_progress(task.action, progress), COLUMNS - 2, initial_indent="  ", subsequent_indent="    ")
    yield from fact_lines("selects", selection_text(task))
    yield from fact_lines("made", f"{clock(task.created_ms)}, {ago(task.created_ms, now_ms)} ago, by {task.by}")
    if task.rate is not None:
        yield from fact_lines("rate", f"at most {task.rate:g} a second")
    if task.force:
        yield from fact_lines("force", "also what a later state has superseded")
    if task.note:
        yield from fact_lines("note", task.note)
    if known.pause is not None:
        yield from fact_lines("paused" if known.paused else "resumed", _said(known.pause, now_ms))
    if known.cancel is not None:
        yield from fact_lines("cancelled", _said(known.cancel, now_ms))
    if state is TaskState.DONE and (ended_ms := known.ended_ms) is not None:
        took = ago(task.created_ms, ended_ms)
        yield from fact_lines("done", f"{clock(ended_ms)}, {ago(ended_ms, now_ms)} ago; it took {took}")
    for text, commands in _advice(task.action, progress.outcomes):
        yield from fact_lines("do", text)
        yield from (f"    {command}" for command in commands)


def selection_text(task: OperatorTask) -> str:
    """What a task is about: IDs, the options of its filter, all, or consumers."""
    if not task.action.is_about_letters:
        number = sum(map(len, task.consumers.values()))
        return f"{number:,} consumer{'' if number == 1 else 's'}"
    ids = task.selection.ids
    if ids:
        more = f" and {len(ids) - _IDS_SHOWN:,} more" if len(ids) > _IDS_SHOWN else ""
        return f"{dead_letters(len(ids))} by ID: {', '.join(map(str, ids[:_IDS_SHOWN]))}{more}"
    return filter_text(task.selection.filter) or "all that were open"


def filter_text(chosen: LetterFilter) -> str:
    """A filter as options of a command; "" for one that means everything.

    >>> filter_text(LetterFilter(market="DE", since_ms=1_763_000_000_000))
    '--market DE --since 2025-11-13T02:13:20Z'
    """
    given = {name.removesuffix("_ms"): value for name, value in asdict(chosen).items() if value not in ("", None)}
    return " ".join(
        f"--{name} {clock(value).replace(' ', 'T') if isinstance(value, int) else value}"
        for name, value in given.items()
    )


def _advice(action: Action, outcomes: Mapping[str, int]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is left to do after a task: what its outcomes mean, and the next commands."""
    texts = _AFTER_REDRIVE if action is Action.REDRIVE else _AFTER_REPAIR if action is Action.REPAIR else {}
    for name, (text, commands) in texts.items():
        if number := outcomes.get(name):
            yield text.format(f"{number:,}"), commands


def ended_lines(action: Action, state: TaskState, progress: TaskProgress) -> Iterator[str]:
    """What a command says when the task that it waited for has ended."""
    yield f"{state.value}: {_outcomes(progress) or 'nothing was handled'}"
    for text, commands in _advice(action, progress.outcomes):
        yield from wrap(text, COLUMNS, break_on_hyphens=False)
        yield from (f"  {command}" for command in commands)


def still_open_text(task: str, progress: TaskProgress) -> str:
    """What a command says when its task has ended and some of its dead letters are still open."""
    return f"{dead_letters(progress.open)} of task {task} still open. To see why: profile-sync dlq stats"


def _progress(action: Action, progress: TaskProgress) -> str:
    outcomes = f" ({_outcomes(progress)})" if progress.outcomes else ""
    still_open = f", {progress.open:,} still open" if action.is_about_letters else ""
    return f"{progress.done:,} of {progress.matched:,} handled{still_open}{outcomes}"


def _outcomes(progress: TaskProgress) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(progress.outcomes.items()))


def _said(note: Note, now_ms: int) -> str:
    return f"{clock(note.at_ms)}, {ago(note.at_ms, now_ms)} ago, by {note.by}" + (f": {note.note}" if note.note else "")
