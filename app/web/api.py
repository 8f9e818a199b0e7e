"""The HTTP API: counts and consumers, read from the read models."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from aiohttp import web

from app.readmodels import kpi
from app.readmodels.consumers import consumer_view
from app.web.auth import Scope
from app.web.guard import requires
from app.web.json_answers import json_answer
from app.web.problems import Problem
from app.web.state import STATE, Snapshot, snapshot

# Of unknown parameters.
MOST_NAMED = 5
LONGEST_NAME = 40


@requires(Scope.KPI_READ)
async def kpi_daily(request: web.Request) -> web.Response:
    """Events per day and market."""
    chosen, seen = _filter(request), await snapshot(request)
    return _rows(seen, chosen, kpi.daily(seen.partitions, chosen))


@requires(Scope.KPI_READ)
async def kpi_records(request: web.Request) -> web.Response:
    """Records per day, market, entity and operation."""
    chosen, seen = _filter(request), await snapshot(request)
    return _rows(seen, chosen, kpi.records(seen.partitions, chosen))


@requires(Scope.KPI_READ)
async def kpi_failures(request: web.Request) -> web.Response:
    """Failures by reason."""
    chosen, seen = _filter(request), await snapshot(request)
    return _rows(seen, chosen, kpi.failures(seen.partitions, chosen))


@requires(Scope.KPI_READ)
async def kpi_totals(request: web.Request) -> web.Response:
    """All events by outcome."""
    _takes(request)
    seen = await snapshot(request)
    return json_answer({"complete": seen.complete, **kpi.totals(seen.partitions)})


@requires(Scope.KPI_READ)
async def consumer(request: web.Request) -> web.Response:
    """Last state, parked events and recent outcomes of one consumer."""
    _takes(request)
    consumer_id = request.match_info["id"]
    seen = await snapshot(request)
    view = None
    if _is_text(consumer_id):
        known = await asyncio.to_thread(request.app[STATE].read_models.consumer, consumer_id)
        view = consumer_view(consumer_id, known, seen.partitions)
    if view is None:
        detail = "no event of this consumer was settled or parked"
        if not seen.complete:
            detail += " as far as this worker knows; it is still catching up, so ask again"
        raise Problem(HTTPStatus.NOT_FOUND, detail)
    return json_answer({**view, "complete": seen.complete})


def _takes(request: web.Request, *known: str) -> None:
    """Refuse a parameter that would be ignored: whoever misspells ``market`` must not take all markets for one."""
    if unknown := sorted(set(request.query) - set(known)):
        shown = ", ".join(plain_name(name) for name in unknown[:MOST_NAMED])
        takes = f"known are {', '.join(known)}" if known else "this address takes none"
        raise Problem(HTTPStatus.BAD_REQUEST, f"unknown parameter {shown}; {takes}")


def plain_name(name: str) -> str:
    """A parameter's name as it may be repeated to whoever gave it."""
    return name if name.isascii() and name.isidentifier() and len(name) <= LONGEST_NAME else "(unusual name)"


def _filter(request: web.Request) -> kpi.Filter:
    _takes(request, "from", "to", "market")
    query = request.query
    try:
        return kpi.Filter.parse(query.get("from"), query.get("to"), query.get("market"))
    except kpi.FilterError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None


def _rows(seen: Snapshot, chosen: kpi.Filter, rows: list[Any]) -> web.Response:
    note = {"folded": True} if kpi.folded(seen.partitions, chosen) else {}
    return json_answer({"complete": seen.complete, **note, "rows": rows})


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
