"""Error answers of the API: ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from app.web.json_answers import json_bytes

PROBLEM_JSON = "application/problem+json"


class HttpProblem(Exception):
    """Ends a request with an error. ``detail`` says what was wrong and what to do, without personal data."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem_answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A problem as an answer. ``type`` is ``about:blank``, so ``title`` is the status in words."""
    phrase = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": phrase, "status": status, "detail": detail}
    return web.Response(status=status, body=json_bytes(body), content_type=PROBLEM_JSON, headers=headers)
