"""``GET /api/audit``: what persons did and saw."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from app.readmodels import Followed
from app.readmodels.audit_views import audit_view
from app.readmodels.cursors import CursorError
from app.readmodels.letters import MOST_LISTED, PAGE
from app.web.auth import Scope
from app.web.guard import requires
from app.web.json_answers import json_answer
from app.web.parameters import read_number, read_time, refuse_unknown
from app.web.problems import HttpProblem
from app.web.state import ask_complete


@requires(Scope.AUDIT_READ)
async def audit(request: web.Request) -> web.Response:
    """A page of what persons did and saw, newest first."""
    refuse_unknown(request, "since", "limit", "cursor")
    since_ms = read_time(request.query.get("since"), "since")
    limit = read_number(request, "limit", default=PAGE, most=MOST_LISTED)
    cursor = request.query.get("cursor")
    try:
        complete, page = await ask_complete(
            request, (Followed.TASKS,), lambda models: models.audit.page(since_ms, limit=limit, cursor=cursor)
        )
    except CursorError as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, str(error)) from None
    return json_answer({"complete": complete, "items": [audit_view(one) for one in page.entries], "next": page.next})
