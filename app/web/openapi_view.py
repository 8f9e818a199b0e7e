"""``GET /openapi.json``."""

from __future__ import annotations

from aiohttp import web

from app.web.json_answers import json_answer
from app.web.openapi import document


async def openapi_json(_request: web.Request) -> web.Response:
    """The description of the API, for clients and generators."""
    return json_answer(document())
