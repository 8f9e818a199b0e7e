"""Answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web


def json_bytes(document: Any) -> bytes:
    """JSON in UTF-8. Callers pass no text with lone surrogates, which UTF-8 cannot hold."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # a sum of more than 64 bits, of numbers that another program wrote
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An ``application/json`` answer."""
    return web.Response(body=json_bytes(document), status=status, content_type="application/json", headers=headers)
