"""The HTTP API: counts and consumers, from the read models."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web

from app.readmodels import kpi
from app.readmodels.consumers import consumer_view
from app.web.auth import Scope
from app.web.guard import requires
from app.web.json_answers import json_answer
from app.web.parameters import refuse_unknown
from app.web.problems import HttpProblem
from app.web.state import Snapshot, ask, take_snapshot


@requires(Scope.KPI_READ)
async def kpi_daily(request: web.Request) -> web.Response:
    """Events per day and market."""
    chosen, snapshot = _filter(request), await take_snapshot(request)
    return _rows(snapshot, chosen, kpi.daily(snapshot.partitions, chosen))


@requires(Scope.KPI_READ)
async def kpi_records(request: web.Request) -> web.Response:
    """Records per day, market, entity and operation."""
    chosen, snapshot = _filter(request), await take_snapshot(request)
    return _rows(snapshot, chosen, kpi.records(snapshot.partitions, chosen))


@requires(Scope.KPI_READ)
async def kpi_failures(request: web.Request) -> web.Response:
    """Failures by reason."""
    chosen, snapshot = _filter(request), await take_snapshot(request)
    return _rows(snapshot, chosen, kpi.failures(snapshot.partitions, chosen))


@requires(Scope.KPI_READ)
async def kpi_totals(request: web.Request) -> web.Response:
    """All events by outcome."""
    refuse_unknown(request)
    snapshot = await take_snapshot(request)
    return json_answer(
        {"complete": snapshot.complete, **kpi.notes(snapshot.partitions), **kpi.totals(snapshot.partitions)}
    )


@requires(Scope.KPI_READ)
async def consumer(request: web.Request) -> web.Response:
    """Last outcome, parked events and recent outcomes of one consumer."""
    refuse_unknown(request)
    consumer_id = request.match_info["id"]
    snapshot = await take_snapshot(request)
    view = None
    if _is_text(consumer_id):
        known = await ask(request, lambda models: models.consumer(consumer_id))
        view = consumer_view(consumer_id, known, snapshot.partitions)
    if view is None:
        detail = "no event of this consumer was settled or parked"
        if not snapshot.complete:
            detail += " as far as this worker knows; it is still catching up, so try again"
        raise HttpProblem(HTTPStatus.NOT_FOUND, detail)
    return json_answer({**view, "complete": snapshot.complete})


def _filter(request: web.Request) -> kpi.Filter:
    refuse_unknown(request, "from", "to", "market")
    query = request.query
    try:
        return kpi.Filter.parse(query.get("from"), query.get("to"), query.get("market"))
    except kpi.FilterError as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, str(error)) from None


def _rows(snapshot: Snapshot, chosen: kpi.Filter, rows: list[Any]) -> web.Response:
    return json_answer({"complete": snapshot.complete, **kpi.notes(snapshot.partitions, chosen), "rows": rows})


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
