"""The pages: rendered on the server. They load packaged files only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from app.delivery.counts import MARKETS_PER_DAY
from app.delivery.errors import REGISTRY
from app.delivery.partition_record import PartitionState
from app.profile.entities import EntityType
from app.readmodels import kpi
from app.web.auth import Scope, forbidden
from app.web.forms import csrf_token, with_csrf
from app.web.guard import page_claims
from app.web.rendering import render
from app.web.state import STATE, Snapshot, take_snapshot

DAYS_SHOWN = 14
REFRESH_SECONDS = 5

_FOLDER = Path(__file__).resolve().parent / "static"
_STATIC = {
    "style.css": "text/css",
    "refresh.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_static_files = {name: (_FOLDER / name).read_bytes() for name in _STATIC}


async def dashboard(request: web.Request) -> web.Response:
    """``/``: the state and the counts."""
    claims = await page_claims(request)
    if claims is None:
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/login"})
    if Scope.KPI_READ not in claims.scopes:
        raise forbidden(Scope.KPI_READ)
    token, snapshot = csrf_token(request), await take_snapshot(request)
    judgement = request.app[STATE].judge(snapshot.complete, _open_dead_letters(snapshot))
    page = render(request, "dashboard.html", **_counts(snapshot), judgement=judgement, csrf=token)
    return with_csrf(request, page, token)


async def static_file(request: web.Request) -> web.Response:
    """``/static/{name}``: a file that the pages load."""
    name = request.match_info["name"]
    if name not in _static_files:
        raise web.HTTPNotFound
    return web.Response(
        body=_static_files[name],
        content_type=_STATIC[name],
        charset="utf-8",
        headers={"Cache-Control": "public, max-age=300"},
    )


def _open_dead_letters(snapshot: Snapshot) -> dict[str, int]:
    letters: Counter[str] = Counter()
    for state in snapshot.partitions.values():
        letters.update(state.dead_letters)
    return dict(letters)


def _counts(snapshot: Snapshot) -> dict[str, Any]:
    now = datetime.now(UTC)
    recent = kpi.Filter(first=(now - timedelta(days=DAYS_SHOWN - 1)).date().isoformat())
    return {
        "refresh": REFRESH_SECONDS,
        "complete": snapshot.complete,
        "now": now.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "days": DAYS_SHOWN,
        "outcomes": kpi.OUTCOMES,
        "totals": kpi.totals(snapshot.partitions),
        "folded": kpi.folded(snapshot.partitions, recent),
        "markets_per_day": MARKETS_PER_DAY,
        "daily": sorted(kpi.daily(snapshot.partitions, recent), key=lambda row: str(row["day"]), reverse=True),
        "failures": _failures_by_reason(snapshot.partitions),
        "entities": _records_by_entity(snapshot.partitions),
    }


def _failures_by_reason(states: Mapping[int, PartitionState]) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    for row in kpi.failures(states, kpi.Filter()):
        counts[row["reason"]] += row["count"]
    return [
        {
            "reason": reason,
            "count": count,
            "meaning": REGISTRY[reason].meaning if reason in REGISTRY else "",
            "remedy": REGISTRY[reason].remedy if reason in REGISTRY else "",
        }
        for reason, count in counts.most_common()
    ]


def _records_by_entity(states: Mapping[int, PartitionState]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], list[int]] = {}
    for row in kpi.records(states, kpi.Filter()):
        pair = sums.setdefault((row["entity"], row["operation"]), [0, 0])
        pair[0] += row["synced"]
        pair[1] += row["failed"]
    return [
        {"entity": entity, "operation": operation, "synced": synced, "failed": failed}
        for (entity, operation), (synced, failed) in sorted(sums.items(), key=lambda item: _written_order(*item[0]))
    ]


def _written_order(entity: str, operation: str) -> tuple[int, str, str]:
    known = list(EntityType)
    return (known.index(EntityType(entity)) if entity in known else len(known), entity, operation)
