"""Building blocks of the API's description (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from app.delivery.moments import FORMS

COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
OPTIONAL = {"type": ["string", "null"]}
TIME_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
TIME = {"type": "string", "description": f"{FORMS[0].upper()}{FORMS[1:]}."}
DAY = {"type": "string", "format": "date"}
FLAG = {"type": "boolean"}

_PROBLEMS = {
    400: "A parameter or the body cannot be used",
    401: "No valid token",
    403: "The token lacks the scope",
    404: "Not found",
    408: "The body did not arrive in time",
    409: "Not possible in the present state",
    413: "The body is too large",
    415: "The body has another media type",
    422: "The new value may not be written",
    503: "The read models, the token keys or Kafka are temporarily unavailable",
}


def object_of(**properties: Any) -> dict[str, Any]:
    """An object with exactly these members."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def list_of(items: dict[str, Any]) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": items}


def ref(name: str) -> dict[str, Any]:
    """A schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def query(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter."""
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def limit(default: int, most: int) -> dict[str, Any]:
    """How many items a page has."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return query("limit", "The most items of an answer.", schema)


def in_path(name: str, text: str) -> dict[str, Any]:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "description": text, "schema": TEXT}


CURSOR = query("cursor", "`next` of the page before.", TEXT)


def json_content(schema: str, text: str) -> dict[str, Any]:
    """An answer or a body in JSON."""
    return {"description": text, "content": {"application/json": {"schema": ref(schema)}}}


def guarded(
    operation: str,
    summary: str,
    schema: str,
    scope: str,
    parameters: list[dict[str, Any]],
    *problems: int,
    body: dict[str, Any] | None = None,
    status: int = 200,
    further: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An operation that needs a scope.

    Args:
        further: answers besides the one with ``status``.
    """
    refusals = sorted({401, 403, 503, *problems})
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{"bearer": [scope]}],
        "parameters": parameters,
        **({"requestBody": body} if body is not None else {}),
        "responses": {
            str(status): json_content(schema, summary),
            **(further or {}),
            **{str(refusal): _problem(refusal) for refusal in refusals},
        },
    }


def _problem(status: int) -> dict[str, Any]:
    return {"description": _PROBLEMS[status], "content": {"application/problem+json": {"schema": ref("Problem")}}}
