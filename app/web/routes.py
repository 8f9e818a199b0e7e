"""All routes of the web server."""

from __future__ import annotations

from dataclasses import dataclass

from app.web import api, dead_letters, letter_value, letter_writes, pages, probes, sessions
from app.web.audit import audit
from app.web.consumers import consumer, consumers
from app.web.guard import Handler
from app.web.openapi_view import openapi_json


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path. A GET route also answers HEAD."""

    method: str
    path: str
    handler: Handler


ROUTES: tuple[Route, ...] = (
    Route("GET", "/healthz", probes.healthz),
    Route("GET", "/readyz", probes.readyz),
    Route("GET", "/metrics", probes.metrics),
    Route("GET", "/openapi.json", openapi_json),
    Route("GET", "/api/kpi/daily", api.kpi_daily),
    Route("GET", "/api/kpi/records", api.kpi_records),
    Route("GET", "/api/kpi/failures", api.kpi_failures),
    Route("GET", "/api/kpi/totals", api.kpi_totals),
    Route("GET", "/api/consumers", consumers),
    Route("GET", "/api/consumers/{id}", consumer),
    Route("GET", "/api/dead-letters", dead_letters.dead_letters),
    Route("GET", "/api/dead-letters/groups", dead_letters.groups),
    Route("POST", "/api/dead-letters/redrive", letter_writes.redrive),
    Route("POST", "/api/dead-letters/discard", letter_writes.discard),
    Route("GET", "/api/dead-letters/{id}", dead_letters.dead_letter),
    Route("PUT", "/api/dead-letters/{id}/value", letter_value.edit),
    Route("GET", "/api/audit", audit),
    Route("GET", "/api/tasks", dead_letters.tasks),
    Route("GET", "/api/tasks/{id}", dead_letters.task),
    Route("POST", "/api/tasks/{id}/pause", letter_writes.pause),
    Route("POST", "/api/tasks/{id}/resume", letter_writes.resume),
    Route("POST", "/api/tasks/{id}/cancel", letter_writes.cancel),
    Route("GET", "/", pages.dashboard),
    Route("GET", "/login", sessions.login_form),
    Route("POST", "/login", sessions.login),
    Route("POST", "/logout", sessions.logout),
    Route("GET", "/static/{name}", pages.static_file),
)
