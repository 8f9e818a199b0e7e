"""``PUT /api/dead-letters/{id}/value``: the body is the new value, byte for byte, so that numbers keep their digits."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from app.web.auth import Scope
from app.web.bodies import BODY_SECONDS, read_body
from app.web.forms import refuse_other_sites
from app.web.guard import person, requires
from app.web.json_answers import json_answer
from app.web.parameters import refuse_unknown
from app.web.problems import HttpProblem
from app.web.state import operations

MEDIA_TYPES = ("application/json", "application/cloudevents+json", "application/octet-stream")
# No request is larger.
LARGEST_VALUE_BYTES = 2 * 1024 * 1024


@requires(Scope.DLQ_WRITE)
async def edit(request: web.Request) -> web.Response:
    """Give a dead letter another value."""
    refuse_unknown(request, "note")
    refuse_other_sites(request)
    if request.content_type not in MEDIA_TYPES:
        raise HttpProblem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body is the new value; give Content-Type {MEDIA_TYPES[0]}"
        )
    value = await read_body(request, LARGEST_VALUE_BYTES, BODY_SECONDS, "the value")
    note = request.query.get("note", "")
    done = await operations(request).edit(request.match_info["id"], value, person(request), note)
    return json_answer({"id": done.id, "topic": done.topic, "offset": done.offset})
