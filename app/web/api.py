"""The HTTP API: counts and consumers, from the read models."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web

from app.readmodels import kpi
from app.web.auth import Scope
from app.web.guard import requires
from app.web.json_answers import json_answer
from app.web.parameters import refuse_unknown
from app.web.problems import HttpProblem
from app.web.state import Snapshot, take_snapshot


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


def _filter(request: web.Request) -> kpi.Filter:
    refuse_unknown(request, "from", "to", "market")
    query = request.query
    try:
        return kpi.Filter.parse(query.get("from"), query.get("to"), query.get("market"))
    except kpi.FilterError as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, str(error)) from None


def _rows(snapshot: Snapshot, chosen: kpi.Filter, rows: list[Any]) -> web.Response:
    return json_answer({"complete": snapshot.complete, **kpi.notes(snapshot.partitions, chosen), "rows": rows})
