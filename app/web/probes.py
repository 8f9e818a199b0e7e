"""For machines that watch: health, readiness, metrics. Open to all; no personal data in them."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from app.observe.metrics import CONTENT_TYPE
from app.web.auth import Scope
from app.web.guard import page_claims
from app.web.json_answers import json_answer
from app.web.problems import HttpProblem
from app.web.state import STATE


async def healthz(_request: web.Request) -> web.Response:
    """The process lives and its event loop turns."""
    return json_answer({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Whether the worker can do its work; 503 if not. The reasons name brokers and topics: in full only for those who
    may see the counts, one word each for all others."""
    readiness = request.app[STATE].readiness()
    status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
    reasons = readiness.texts if not readiness.ready and await _may_read(request) else readiness.kinds
    return json_answer({"ready": readiness.ready, "reasons": reasons}, status)


async def _may_read(request: web.Request) -> bool:
    try:
        claims = await page_claims(request)
    except HttpProblem:  # a probe is answered whatever it brings
        return False
    return claims is not None and Scope.KPI_READ in claims.scopes


async def metrics(request: web.Request) -> web.Response:
    """Prometheus text."""
    return web.Response(body=request.app[STATE].metrics.render(), headers={"Content-Type": CONTENT_TYPE})
