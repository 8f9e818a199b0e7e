"""For machines that watch: health, readiness, metrics. Open to all; no personal data in them."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from app.observe.metrics import CONTENT_TYPE
from app.web.json_answers import json_answer
from app.web.state import STATE


async def healthz(_request: web.Request) -> web.Response:
    """The process lives and its event loop turns."""
    return json_answer({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Whether the worker can do its work; 503 with the reasons if not."""
    readiness = request.app[STATE].readiness()
    status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
    return json_answer({"ready": readiness.ready, "reasons": readiness.texts}, status)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text."""
    return web.Response(body=request.app[STATE].metrics.render(), headers={"Content-Type": CONTENT_TYPE})
