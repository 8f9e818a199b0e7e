"""Dead letters, their groups and tasks, with the field names of the API and of ``--json``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypedDict

from app.delivery.dead_letter_record import HistoryLine, ValuePlace
from app.delivery.operator_task import Note, OperatorTask
from app.readmodels.consumers import ConsumerView, iso_time, without_history
from app.readmodels.letter_groups import LetterGroup
from app.readmodels.letters import LetterPage, ListedLetter
from app.readmodels.tasks import KnownTask, LetterEdit, TaskProgress, TaskState


class LetterView(TypedDict):
    """A dead letter in a list. ``attempts``: how many the last run took. ``redrives``: how often it was handled."""

    id: str
    consumerId: str | None
    eventId: str
    market: str
    operation: str
    entity: str
    reason: str
    fingerprint: str
    message: str
    attempts: int
    firstFailedAt: str | None
    failedAt: str | None
    status: str
    redrives: int


class GroupView(TypedDict):
    """Open dead letters of one fingerprint. ``oldest``, ``newest``: the last failures."""

    fingerprint: str
    reason: str
    entity: str
    operation: str
    open: int
    consumers: int
    oldest: str | None
    newest: str | None
    example: str


class NoteView(TypedDict):
    """Who paused, resumed or cancelled a task, when and why."""

    at: str | None
    by: str
    note: str


class SelectionView(TypedDict):
    """What a task is about: ``by`` is ``ids``, ``filter``, ``all`` or ``consumers``.

    ``number``: of IDs or consumers, otherwise null. ``filter``: the names and values of a filter, otherwise empty.
    """

    by: str
    number: int | None
    filter: dict[str, str]


class TaskView(TypedDict):
    """A task and how far it has come. ``paused``: that it pauses now; ``resumed``: that its last pause is over."""

    id: str
    action: str
    state: str
    matched: int
    done: int
    outcomes: dict[str, int]
    open: int
    by: str
    note: str
    createdAt: str | None
    selection: SelectionView
    ratePerSecond: float | None
    force: bool
    paused: NoteView | None
    resumed: NoteView | None
    cancelled: NoteView | None
    endedAt: str | None


def letter_view(listed: ListedLetter) -> LetterView:
    """A dead letter in a list."""
    letter, settlement, kind = listed.letter, listed.letter.settlement, listed.letter.fingerprint
    return LetterView(
        id=str(listed.id),
        consumerId=settlement.consumer_id,
        eventId=settlement.event_id,
        market=settlement.market,
        operation=settlement.operation,
        entity=kind.entity,
        reason=kind.reason,
        fingerprint=str(kind),
        message=letter.message,
        attempts=settlement.attempts,
        firstFailedAt=iso_time(letter.first_failed_ms),
        failedAt=iso_time(letter.last_failed_ms),
        status=listed.status.value,
        redrives=letter.redrives,
    )


def page_view(page: LetterPage) -> dict[str, Any]:
    """A page of a list. ``next``: the cursor of the next one."""
    return {"items": [letter_view(one) for one in page.items], "next": page.next}


def detail_view(listed: ListedLetter, edit: LetterEdit | None) -> dict[str, Any]:
    """Everything that the index knows of a dead letter. ``attempts`` is the list of attempts here."""
    letter = listed.letter
    return {
        **letter_view(listed),
        "attempts": [{"at": iso_time(one.at_ms), "code": one.code} for one in letter.attempts],
        "requestId": letter.request_id or None,
        "outcome": letter.settlement.outcome.value,
        "outcomeReason": letter.settlement.reason,
        "openedAt": iso_time(letter.opened_ms),
        "hasKey": letter.has_key,
        "size": letter.size,
        "tasks": list(letter.tasks),
        "history": [_line(one) for one in letter.history],
        "place": _place(letter.place),
        "original": _place(letter.original),
        "edit": None
        if edit is None
        else {
            "offset": edit.offset,
            "at": iso_time(edit.note.at_ms),
            "by": edit.note.by,
            "note": edit.note.note,
        },
    }


def with_dead_letters(
    consumer_id: str, view: ConsumerView | None, letters: Sequence[ListedLetter]
) -> dict[str, Any] | None:
    """A consumer with its dead letters, newest failure first; None: nothing is known of it."""
    if view is None and not letters:
        return None
    return {**(view or without_history(consumer_id)), "deadLetters": [letter_view(one) for one in letters]}


def group_view(group: LetterGroup) -> GroupView:
    """Open dead letters of one fingerprint."""
    return GroupView(
        fingerprint=str(group.fingerprint),
        reason=group.fingerprint.reason,
        entity=group.fingerprint.entity,
        operation=group.fingerprint.operation,
        open=group.open,
        consumers=group.consumers,
        oldest=iso_time(group.oldest_ms),
        newest=iso_time(group.newest_ms),
        example=str(group.example),
    )


def task_view(known: KnownTask, state: TaskState, progress: TaskProgress) -> TaskView:
    """A task."""
    return TaskView(
        id=known.task.id,
        action=known.task.action.value,
        state=state.value,
        matched=progress.matched,
        done=progress.done,
        outcomes=dict(progress.outcomes),
        open=progress.open,
        by=known.task.by,
        note=known.task.note,
        createdAt=iso_time(known.task.created_ms),
        selection=_selection(known.task),
        ratePerSecond=known.task.rate,
        force=known.task.force,
        paused=_note(known.pause) if known.paused else None,
        resumed=None if known.paused else _note(known.pause),
        cancelled=_note(known.cancel),
        endedAt=iso_time(known.ended_ms),
    )


def _note(note: Note | None) -> NoteView | None:
    return None if note is None else NoteView(at=iso_time(note.at_ms), by=note.by, note=note.note)


def _selection(task: OperatorTask) -> SelectionView:
    chosen = task.selection.filter
    if not task.action.is_about_letters:
        return SelectionView(by="consumers", number=sum(map(len, task.consumers.values())), filter={})
    if ids := task.selection.ids:
        return SelectionView(by="ids", number=len(ids), filter={})
    times = {"since": iso_time(chosen.since_ms), "until": iso_time(chosen.until_ms)}
    texts = {name: value for name, value in asdict(chosen).items() if isinstance(value, str)}
    given = {name: value for name, value in (texts | times).items() if value}
    return SelectionView(by="filter" if given else "all", number=None, filter=given)


def _line(line: HistoryLine) -> dict[str, Any]:
    return {
        "at": iso_time(line.at_ms),
        "action": line.action,
        "outcome": line.outcome or None,
        "reason": line.reason or None,
        "by": line.by or None,
        "task": line.task or None,
        "note": line.note or None,
    }


def _place(place: ValuePlace | None) -> dict[str, Any] | None:
    return None if place is None else {"topic": place.holder.value, "offset": place.offset}
