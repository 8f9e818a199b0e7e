"""Dead letters and operators' tasks in the HTTP API: what the read models know of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web

from app.delivery.operator_task import LetterFilter
from app.readmodels import Followed
from app.readmodels.cursors import CursorError
from app.readmodels.letter_groups import LetterGroup
from app.readmodels.letter_texts import ids_text
from app.readmodels.letter_value_texts import ShownValue, value_view
from app.readmodels.letter_views import detail_view, group_view, page_view, task_view
from app.readmodels.letters import MOST_LISTED, PAGE, LetterPage
from app.readmodels.models import ReadModels
from app.web.auth import Scope
from app.web.guard import CLAIMS, person, requires
from app.web.json_answers import json_answer
from app.web.letter_parameters import FILTERS, letter_filter, letter_statuses
from app.web.operations import OperationsUnavailable
from app.web.parameters import read_flag, read_number, refuse_unknown
from app.web.problems import HttpProblem
from app.web.state import ask_complete, operations

# What must be read in before an answer about dead letters, or about tasks, is complete.
LETTERS = (Followed.LETTERS, Followed.STATE)
TASKS = (Followed.TASKS, Followed.LETTERS, Followed.STATE)
MOST_TASKS = 1_000
TASKS_LISTED = 50


@requires(Scope.DLQ_READ)
async def dead_letters(request: web.Request) -> web.Response:
    """A page of dead letters, the newest failure first."""
    refuse_unknown(request, "status", *FILTERS, "limit", "cursor")
    chosen, statuses = letter_filter(request), letter_statuses(request)

    def look(models: ReadModels) -> LetterPage:
        _check(models, chosen)
        return models.letters.page(chosen, statuses, limit=limit, cursor=cursor)

    limit = read_number(request, "limit", default=PAGE, most=MOST_LISTED)
    cursor = request.query.get("cursor")
    try:
        complete, page = await ask_complete(request, LETTERS, look)
    except CursorError as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, str(error)) from None
    return json_answer({"complete": complete, **page_view(page)})


@requires(Scope.DLQ_READ)
async def groups(request: web.Request) -> web.Response:
    """Open dead letters by fingerprint, the largest group first."""
    refuse_unknown(request, *FILTERS)
    chosen = letter_filter(request)

    def look(models: ReadModels) -> list[LetterGroup]:
        _check(models, chosen)
        return models.letters.groups(chosen)

    complete, found = await ask_complete(request, LETTERS, look)
    return json_answer({"complete": complete, "items": [group_view(group) for group in found]})


@requires(Scope.DLQ_READ)
async def dead_letter(request: web.Request) -> web.Response:
    """Everything that is known of one dead letter, by its ID or its event ID. Values are masked without the scope."""
    refuse_unknown(request, "masked")
    masked = Scope.DLQ_VALUES not in request[CLAIMS].scopes or read_flag(request, "masked")
    text = request.match_info["id"]
    complete, found = await ask_complete(request, TASKS, lambda models: models.letters.find(text))
    if not found:
        raise HttpProblem(HTTPStatus.NOT_FOUND, _not_known("no dead letter has this ID or event ID", complete=complete))
    if len(found) > 1:
        raise HttpProblem(HTTPStatus.CONFLICT, f"several dead letters have this event ID: {ids_text(found)}")
    [one] = found
    _, edit = await ask_complete(request, TASKS, lambda models: models.tasks.edit(one.id))
    try:
        shown = await operations(request).shown_value(one, None if masked else person(request))
    except OperationsUnavailable as error:
        shown = ShownValue(None, f"not read: {error}", masked=masked)
    return json_answer({**detail_view(one, edit), **value_view(shown), "complete": complete})


@requires(Scope.DLQ_READ)
async def tasks(request: web.Request) -> web.Response:
    """Operators' tasks, newest first."""
    refuse_unknown(request, "limit")
    limit = read_number(request, "limit", default=TASKS_LISTED, most=MOST_TASKS)

    def look(models: ReadModels) -> list[Any]:
        views = (_task(models, known.task.id) for known in models.tasks.all(limit))
        return [view for view in views if view is not None]

    complete, found = await ask_complete(request, TASKS, look)
    return json_answer({"complete": complete, "items": found})


@requires(Scope.DLQ_READ)
async def task(request: web.Request) -> web.Response:
    """One task and how far it has come."""
    refuse_unknown(request)
    return await task_answer(request)


async def task_answer(request: web.Request) -> web.Response:
    """The task that the address names.

    Raises:
        HttpProblem: 404, there is none.
    """
    task_id = request.match_info["id"]
    complete, view = await ask_complete(request, TASKS, lambda models: _task(models, task_id))
    if view is None:
        raise HttpProblem(HTTPStatus.NOT_FOUND, _not_known("there is no task with this ID", complete=complete))
    return json_answer({**view, "complete": complete})


def _task(models: ReadModels, task_id: str) -> dict[str, Any] | None:
    known, state, progress = models.tasks.known(task_id), models.tasks.state(task_id), models.tasks.progress(task_id)
    if known is None or state is None or progress is None:
        return None
    return {**task_view(known, state, progress)}


def _check(models: ReadModels, chosen: LetterFilter) -> None:
    """Refuse names that cannot exist. Before everything was read, one may stand in what is missing."""
    if models.caught_up(*LETTERS):
        models.letters.check(chosen)


def _not_known(text: str, *, complete: bool) -> str:
    return text if complete else f"{text}, as far as this worker knows; it is still catching up, so try again"
