"""The description of the HTTP API (OpenAPI 3.1). A test compares it with the routes and their answers."""

from __future__ import annotations

from typing import Any

from app import __version__
from app.delivery.counts import MARKETS_PER_DAY, OTHER_MARKETS
from app.delivery.outcome import MARKET_PATTERN
from app.readmodels.consumer_index import MOST_LISTED, PAGE
from app.readmodels.kpi import OUTCOMES
from app.web.auth import Scope
from app.web.openapi_letters import LETTER_PATHS, LETTER_SCHEMAS
from app.web.openapi_parts import (
    COUNT,
    CURSOR,
    DAY,
    FLAG,
    OPTIONAL,
    TEXT,
    TIME,
    TIME_OR_NULL,
    guarded,
    in_path,
    json_content,
    limit,
    list_of,
    object_of,
    query,
    ref,
)
from app.web.openapi_writes import WRITE_PATHS, WRITE_SCHEMAS


def _rows(row: str) -> dict[str, Any]:
    answer = object_of(complete=ref("Complete"), rows=list_of(ref(row)))
    answer["properties"]["folded"] = ref("Folded")
    return _qualified(answer)


def _qualified(answer: dict[str, Any]) -> dict[str, Any]:
    answer["properties"]["dryRun"] = ref("DryRun")
    return answer


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
    "DailyRow": object_of(day=DAY, market=TEXT, **dict.fromkeys(OUTCOMES, COUNT)),
    "RecordRow": object_of(day=DAY, market=TEXT, entity=TEXT, operation=TEXT, synced=COUNT, failed=COUNT),
    "FailureRow": object_of(day=DAY, market=TEXT, entity=TEXT, operation=TEXT, reason=TEXT, count=COUNT),
    "Daily": _rows("DailyRow"),
    "Records": _rows("RecordRow"),
    "Failures": _rows("FailureRow"),
    "Totals": _qualified(
        object_of(complete=ref("Complete"), **dict.fromkeys(OUTCOMES, COUNT), events=COUNT, parked=COUNT)
    ),
    "Parked": object_of(
        id=TEXT, eventId=TEXT, attempts=COUNT, dueAt=TIME_OR_NULL, reason=OPTIONAL, firstFailedAt=TIME_OR_NULL
    ),
    "Recent": object_of(
        eventId=TEXT,
        operation=TEXT,
        outcome=ref("Outcome"),
        reason=OPTIONAL,
        entity=OPTIONAL,
        attempts=COUNT,
        settledAt=TIME_OR_NULL,
    ),
    "Consumer": object_of(
        consumerId=TEXT,
        market=OPTIONAL,
        lastEventId=OPTIONAL,
        lastOutcome={"anyOf": [ref("Outcome"), {"type": "null"}]},
        lastReason=OPTIONAL,
        lastEntity=OPTIONAL,
        lastSyncedAt=TIME_OR_NULL,
        parked=list_of(ref("Parked")),
        recent=list_of(ref("Recent")),
        deadLetters=list_of(ref("DeadLetter")),
        complete=ref("Complete"),
    ),
    "EndedConsumer": object_of(
        consumerId=TEXT,
        market=TEXT,
        lastEventId=TEXT,
        lastOperation=TEXT,
        lastOutcome=ref("Outcome"),
        lastReason=OPTIONAL,
        lastEntity=OPTIONAL,
        lastSettledAt=TIME_OR_NULL,
    ),
    "EndedConsumers": object_of(complete=ref("Complete"), items=list_of(ref("EndedConsumer")), next=OPTIONAL),
    "Health": object_of(status={"const": "ok"}),
    "Readiness": object_of(ready=FLAG, reasons=list_of(TEXT)),
    "Problem": object_of(type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT),
}

_FILTERS = [
    query("from", "First day, UTC.", DAY),
    query("to", "Last day, included.", DAY),
    query("market", "One market.", {"type": "string", "pattern": MARKET_PATTERN}),
]
_CONSUMER_ID = in_path("id", "consumerId")
_OUTCOME = query("outcome", "How the last event ended.", ref("Outcome")) | {"required": True}


def _get(
    operation: str, summary: str, schema: str, scope: str, parameters: list[dict[str, Any]], *problems: int
) -> dict[str, Any]:
    return {"get": guarded(operation, summary, schema, scope, parameters, *problems)}


def _open(operation: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"operationId": operation, "summary": summary, "security": [], "responses": responses}}


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "profile-sync",
            "version": __version__,
            "description": "Counts, consumers, dead letters and tasks of the whole cluster, from any worker. Times are "
            "ISO 8601 in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/healthz": _open("health", "Whether the process is alive", {"200": json_content("Health", "Alive")}),
            "/readyz": _open(
                "readiness",
                "Whether the worker owns its partitions and has read the state",
                {
                    "200": json_content("Readiness", "Ready"),
                    "503": json_content(
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
            "/api/kpi/daily": _get("kpiDaily", "Events by outcome", "Daily", "kpi:read", _FILTERS, 400),
            "/api/kpi/records": _get("kpiRecords", "Records by entity", "Records", "kpi:read", _FILTERS, 400),
            "/api/kpi/failures": _get("kpiFailures", "Failures by reason", "Failures", "kpi:read", _FILTERS, 400),
            "/api/kpi/totals": _get("kpiTotals", "All events by outcome", "Totals", "kpi:read", [], 400),
            "/api/consumers": _get(
                "consumers",
                "Consumers whose last event ended with one outcome, newest first",
                "EndedConsumers",
                "kpi:read",
                [_OUTCOME, query("since", "Settled at this time or later.", TIME), limit(PAGE, MOST_LISTED), CURSOR],
                400,
            ),
            "/api/consumers/{id}": _get(
                "consumer",
                "Outcomes, parked events and dead letters of one consumer",
                "Consumer",
                "kpi:read",
                [_CONSUMER_ID],
                400,
                404,
            ),
            **LETTER_PATHS,
            **WRITE_PATHS,
        },
        "components": {
            "schemas": _SCHEMAS | LETTER_SCHEMAS | WRITE_SCHEMAS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": f"Scopes: {', '.join(Scope)}",
                }
            },
        },
    }
