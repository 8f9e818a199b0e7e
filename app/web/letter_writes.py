"""Redrives and discards dead letters, and pauses, resumes and cancels tasks, over HTTP.

A page of another site cannot send these requests: they need a bearer token, and with ``WEB_AUTH=off`` the browser says
where a request comes from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from app.delivery.letter_selection import TaskChange
from app.delivery.operator_task import Action
from app.web.auth import Scope
from app.web.bodies import json_members, text_of
from app.web.dead_letters import task_answer
from app.web.forms import refuse_other_sites
from app.web.guard import person, requires
from app.web.json_answers import json_answer
from app.web.parameters import refuse_unknown
from app.web.state import operations
from app.web.task_bodies import asked_task


@requires(Scope.DLQ_WRITE)
async def redrive(request: web.Request) -> web.Response:
    """Have dead letters run again."""
    return await _make(request, Action.REDRIVE)


@requires(Scope.DLQ_WRITE)
async def discard(request: web.Request) -> web.Response:
    """Have dead letters closed."""
    return await _make(request, Action.DISCARD)


async def _make(request: web.Request, action: Action) -> web.Response:
    refuse_unknown(request)
    refuse_other_sites(request)
    asked = await asked_task(request, action)
    if asked.dry_run:
        return json_answer(await operations(request).dry_run(asked.request))
    made = await operations(request).make_task(asked.request, person(request))
    answer = {"matched": made.matched, "superseded": made.superseded, "taskId": made.task}
    if made.task is None:
        return json_answer(answer)
    return json_answer(answer, HTTPStatus.ACCEPTED, {"Location": f"/api/tasks/{made.task}"})


def _change(change: TaskChange) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    @requires(Scope.DLQ_WRITE)
    async def handler(request: web.Request) -> web.StreamResponse:
        refuse_unknown(request)
        refuse_other_sites(request)
        body = await json_members(request, "note", may_be_empty=True)
        note = text_of(body.get("note", ""), "note")
        await operations(request).change_task(request.match_info["id"], change, person(request), note)
        return await task_answer(request)

    return handler


pause, resume, cancel = _change(TaskChange.PAUSE), _change(TaskChange.RESUME), _change(TaskChange.CANCEL)
