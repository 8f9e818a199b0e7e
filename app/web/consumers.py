"""Consumers in the HTTP API: one of them, and those whose last event ended with one outcome."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web

from app.delivery.outcome import Outcome
from app.readmodels import Followed, ReadModels
from app.readmodels.consumer_index import MOST_LISTED, PAGE
from app.readmodels.consumers import consumer_view, ended_page_view
from app.readmodels.cursors import CursorError
from app.readmodels.letter_views import with_dead_letters
from app.web.auth import Scope
from app.web.guard import requires
from app.web.json_answers import json_answer
from app.web.parameters import read_number, read_time, refuse_unknown
from app.web.problems import HttpProblem
from app.web.state import ask_complete

# What an answer about one consumer is made of.
_ABOUT = (Followed.STATE, Followed.CONSUMERS, Followed.LETTERS)


@requires(Scope.KPI_READ)
async def consumers(request: web.Request) -> web.Response:
    """A page of the consumers whose last event ended with an outcome, the newest first."""
    refuse_unknown(request, "outcome", "since", "limit", "cursor")
    outcome = _outcome(request.query.get("outcome"))
    since_ms = read_time(request.query.get("since"), "since")
    limit = read_number(request, "limit", default=PAGE, most=MOST_LISTED)
    cursor = request.query.get("cursor")
    try:
        complete, page = await ask_complete(
            request,
            (Followed.CONSUMERS,),
            lambda models: models.consumers.ended(outcome, since_ms, limit=limit, cursor=cursor),
        )
    except CursorError as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, str(error)) from None
    return json_answer({"complete": complete, **ended_page_view(page)})


@requires(Scope.KPI_READ)
async def consumer(request: web.Request) -> web.Response:
    """Last outcome, parked events, recent outcomes and dead letters of one consumer."""
    refuse_unknown(request)
    consumer_id = request.match_info["id"]

    def look(models: ReadModels) -> dict[str, Any] | None:
        view = consumer_view(consumer_id, models.consumer(consumer_id), models.partitions())
        return with_dead_letters(consumer_id, view, models.letters.of_consumer(consumer_id))

    complete, view = await ask_complete(request, _ABOUT, look) if _is_text(consumer_id) else (True, None)
    if view is None:
        detail = "no event of this consumer was settled, parked or dead-lettered"
        if not complete:
            detail += " as far as this worker knows; it is still catching up, so try again"
        raise HttpProblem(HTTPStatus.NOT_FOUND, detail)
    return json_answer({**view, "complete": complete})


def _outcome(text: str | None) -> Outcome:
    try:
        return Outcome(text or "")
    except ValueError:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"outcome must be one of {', '.join(Outcome)}") from None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
