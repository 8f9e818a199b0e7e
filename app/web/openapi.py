"""The description of the HTTP API (OpenAPI 3.1). A test compares it with the routes and their answers."""

from __future__ import annotations

from typing import Any

from app import __version__
from app.delivery.counts import MARKETS_PER_DAY, OTHER_MARKETS
from app.delivery.outcome import MARKET_PATTERN
from app.readmodels.kpi import OUTCOMES

_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_OPTIONAL = {"type": ["string", "null"]}
_TIME_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
_DAY = {"type": "string", "format": "date"}
_FLAG = {"type": "boolean"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _rows(row: str) -> dict[str, Any]:
    answer = _object(complete=_ref("Complete"), rows={"type": "array", "items": _ref(row)})
    answer["properties"]["folded"] = _ref("Folded")
    return _qualified(answer)


def _qualified(answer: dict[str, Any]) -> dict[str, Any]:
    answer["properties"]["dryRun"] = _ref("DryRun")
    return answer


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: dict[str, Any] = {
    "Complete": {
        "type": "boolean",
        "description": "False while the worker that answers is still catching up with the cluster's state.",
    },
    "Folded": {
        "const": True,
        "description": f"Present if a day has more than {MARKETS_PER_DAY} markets in a partition. Events of later "
        f"markets count as `{OTHER_MARKETS}`, so the numbers of a single market may be too low.",
    },
    "DryRun": {
        "const": True,
        "description": "Present if the group does a dry run: the events were counted, but nothing was written.",
    },
    "Outcome": {"type": "string", "enum": list(OUTCOMES)},
    "DailyRow": _object(day=_DAY, market=_TEXT, **dict.fromkeys(OUTCOMES, _COUNT)),
    "RecordRow": _object(day=_DAY, market=_TEXT, entity=_TEXT, operation=_TEXT, synced=_COUNT, failed=_COUNT),
    "FailureRow": _object(day=_DAY, market=_TEXT, entity=_TEXT, operation=_TEXT, reason=_TEXT, count=_COUNT),
    "Daily": _rows("DailyRow"),
    "Records": _rows("RecordRow"),
    "Failures": _rows("FailureRow"),
    "Totals": _qualified(
        _object(complete=_ref("Complete"), **dict.fromkeys(OUTCOMES, _COUNT), events=_COUNT, parked=_COUNT)
    ),
    "Parked": _object(
        id=_TEXT, eventId=_TEXT, attempts=_COUNT, dueAt=_TIME_OR_NULL, reason=_OPTIONAL, firstFailedAt=_TIME_OR_NULL
    ),
    "Recent": _object(
        eventId=_TEXT,
        operation=_TEXT,
        outcome=_ref("Outcome"),
        reason=_OPTIONAL,
        attempts=_COUNT,
        settledAt=_TIME_OR_NULL,
    ),
    "Consumer": _object(
        consumerId=_TEXT,
        market=_OPTIONAL,
        lastEventId=_OPTIONAL,
        lastOutcome={"anyOf": [_ref("Outcome"), {"type": "null"}]},
        lastReason=_OPTIONAL,
        lastSyncedAt=_TIME_OR_NULL,
        parked={"type": "array", "items": _ref("Parked")},
        recent={"type": "array", "items": _ref("Recent")},
        complete=_ref("Complete"),
    ),
    "Health": _object(status={"const": "ok"}),
    "Readiness": _object(ready=_FLAG, reasons={"type": "array", "items": _TEXT}),
    "Problem": _object(type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT),
}

_PROBLEMS = {
    400: "A parameter cannot be used",
    401: "No valid token",
    403: "The token lacks the scope",
    404: "Not found",
    503: "The read models or the token keys are temporarily unavailable",
}


def _query(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


_FILTERS = [
    _query("from", "First day, UTC.", _DAY),
    _query("to", "Last day, included.", _DAY),
    _query("market", "One market.", {"type": "string", "pattern": MARKET_PATTERN}),
]
_CONSUMER_ID = {"name": "id", "in": "path", "required": True, "description": "consumerId", "schema": _TEXT}


def _json(schema: str, text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(schema)}}}


def _problem(status: int) -> dict[str, Any]:
    return {"description": _PROBLEMS[status], "content": {"application/problem+json": {"schema": _ref("Problem")}}}


def _guarded(
    operation: str, summary: str, schema: str, scope: str, parameters: list[dict[str, Any]], *problems: int
) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "security": [{"bearer": [scope]}],
            "parameters": parameters,
            "responses": {
                "200": _json(schema, summary),
                **{str(status): _problem(status) for status in sorted({401, 403, 503, *problems})},
            },
        }
    }


def _open(operation: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"operationId": operation, "summary": summary, "security": [], "responses": responses}}


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "profile-sync",
            "version": __version__,
            "description": "Counts and consumers of the whole cluster, from any worker. Times are ISO 8601 in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/healthz": _open("health", "Whether the process is alive", {"200": _json("Health", "Alive")}),
            "/readyz": _open(
                "readiness",
                "Whether the worker owns its partitions and has read the state",
                {
                    "200": _json("Readiness", "Ready"),
                    "503": _json(
                        "Readiness",
                        "Not ready. With kpi:read the reasons are sentences, otherwise one word each: kafka, state",
                    ),
                },
            ),
            "/metrics": _open(
                "metrics", "Prometheus metrics", {"200": {"description": "Metrics", "content": {"text/plain": {}}}}
            ),
            "/openapi.json": _open(
                "openapi", "This document", {"200": {"description": "OpenAPI", "content": {"application/json": {}}}}
            ),
            "/api/kpi/daily": _guarded("kpiDaily", "Events by outcome", "Daily", "kpi:read", _FILTERS, 400),
            "/api/kpi/records": _guarded("kpiRecords", "Records by entity", "Records", "kpi:read", _FILTERS, 400),
            "/api/kpi/failures": _guarded("kpiFailures", "Failures by reason", "Failures", "kpi:read", _FILTERS, 400),
            "/api/kpi/totals": _guarded("kpiTotals", "All events by outcome", "Totals", "kpi:read", [], 400),
            "/api/consumers/{id}": _guarded(
                "consumer",
                "Outcomes and parked events of one consumer",
                "Consumer",
                "kpi:read",
                [_CONSUMER_ID],
                400,
                404,
            ),
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Scopes: kpi:read, dlq:read, dlq:write",
                }
            },
        },
    }
