"""Health, readiness and metrics, for monitoring. They need no token, so they hold no personal data."""

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
    """200 while the process is alive and its event loop runs."""
    return json_answer({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 if the worker is ready for work, else 503. The reasons may name brokers and topics, so only callers with
    ``kpi:read`` get them in full; all others get one word each."""
    readiness = request.app[STATE].readiness()
    status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
    reasons = readiness.texts if not readiness.ready and await _may_read(request) else readiness.kinds
    return json_answer({"ready": readiness.ready, "reasons": reasons}, status)


async def _may_read(request: web.Request) -> bool:
    try:
        claims = await page_claims(request)
    except HttpProblem:  # a probe with a bad token is answered too
        return False
    return claims is not None and Scope.KPI_READ in claims.scopes


async def metrics(request: web.Request) -> web.Response:
    """The metrics in Prometheus text format."""
    return web.Response(body=request.app[STATE].metrics.render(), headers={"Content-Type": CONTENT_TYPE})
