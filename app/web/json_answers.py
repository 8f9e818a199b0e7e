"""Answers in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web


def json_bytes(document: Any) -> bytes:
    """JSON in UTF-8. Callers pass no text with lone surrogates, which UTF-8 cannot hold."""
    return orjson.dumps(document)


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An ``application/json`` answer."""
    return web.Response(body=json_bytes(document), status=status, content_type="application/json", headers=headers)
