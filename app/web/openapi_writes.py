"""The part of the API's description about what persons may have done: redrives, discards, changes of tasks."""

from __future__ import annotations

from typing import Any

from app.delivery.letter_selection import TaskChange
from app.delivery.operator_task import LEAST_PER_SECOND, MOST_IDS, MOST_PER_SECOND, NOTE_BYTES
from app.profile.redrive_forecast import Fate
from app.web.letter_parameters import FILTERS
from app.web.letter_value import MEDIA_TYPES
from app.web.openapi_parts import (
    COUNT,
    FLAG,
    OPTIONAL,
    TEXT,
    guarded,
    in_path,
    json_content,
    list_of,
    object_of,
    query,
    ref,
)

_COUNT_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
_NOTE = {"type": "string", "description": f"Why. At most {NOTE_BYTES} bytes of UTF-8."}
_NOT_EMPTY = {"type": "string", "minLength": 1}
_WAYS = {
    "ids": {
        "type": "array",
        "items": TEXT,
        "minItems": 1,
        "maxItems": MOST_IDS,
        "description": "IDs such as 5-26, or event IDs.",
    },
    "filter": ref("DeadLetterFilter"),
    "all": {"const": True},
}


def _optional(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _body(schema: str, *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": ref(schema)}}}


WRITE_SCHEMAS: dict[str, Any] = {
    "DeadLetterFilter": {
        **_optional([], **dict.fromkeys(FILTERS, _NOT_EMPTY)),
        "minProperties": 1,
        "description": "As the parameters of the list.",
    },
    "RedriveRequest": {
        **_optional(
            [],
            **_WAYS,
            dryRun={"type": "boolean", "description": "Only say what would happen."},
            force={"type": "boolean", "description": "Run also what a later state has superseded. Only with ids."},
            ratePerSecond={
                "type": "number",
                "minimum": LEAST_PER_SECOND,
                "maximum": MOST_PER_SECOND,
                "description": "Begin at most so many a second, over all workers.",
            },
            note=_NOTE,
        ),
        "oneOf": [{"required": [way]} for way in _WAYS],
    },
    "DiscardRequest": {
        **_optional([], **_WAYS, dryRun=FLAG, note=_NOTE | {"description": "Why. Required, except for a dry run."}),
        "oneOf": [{"required": [way]} for way in _WAYS],
    },
    "NoteRequest": _optional([], note=_NOTE),
    "TaskMade": object_of(matched=COUNT, superseded=_COUNT_OR_NULL, taskId=TEXT),
    "Edited": object_of(id=TEXT, topic=TEXT, offset=COUNT),
    "NothingWritten": {
        **_optional(
            ["matched", "superseded"],
            matched=COUNT,
            superseded=_COUNT_OR_NULL,
            taskId={"type": "null"},
            items=list_of(
                object_of(
                    id=TEXT,
                    consumerId=OPTIONAL,
                    operation=TEXT,
                    would={"type": "string", "enum": list(Fate)},
                    detail=OPTIONAL,
                )
            ),
            estimate=list_of(object_of(operation=TEXT, would=TEXT, count=COUNT)),
        ),
        "description": "A dry run, or no dead letter matched. `superseded` is null for a discard, and if there are too "
        "many to count. `items`: each dead letter of a redrive, if they are few; otherwise `estimate`.",
    },
}

_WRITTEN = {"200": json_content("NothingWritten", "Nothing was written: a dry run, or nothing matched")}
_TASK_ID = in_path("id", "The ID of a task.")


def _write(operation: str, summary: str, body: str) -> dict[str, Any]:
    return {
        "post": guarded(
            operation,
            summary,
            "TaskMade",
            "dlq:write",
            [],
            *(400, 404, 408, 409, 413, 415),
            body=_body(body),
            status=202,
            further=_WRITTEN,
        )
    }


def _change(change: TaskChange, summary: str) -> dict[str, Any]:
    return {
        "post": guarded(
            f"{change.value}Task",
            summary,
            "TaskDetail",
            "dlq:write",
            [_TASK_ID],
            *(400, 404, 408, 409, 413, 415),
            body=_body("NoteRequest", required=False),
        )
    }


WRITE_PATHS: dict[str, Any] = {
    "/api/dead-letters/{id}/value": {
        "put": guarded(
            "editDeadLetter",
            "Give a dead letter another value; a redrive then runs that",
            "Edited",
            "dlq:write",
            [in_path("id", "The ID of a dead letter, or its event ID."), query("note", _NOTE["description"], TEXT)],
            *(400, 404, 408, 409, 413, 415, 422),
            body={"required": True, "content": {media: {"schema": {}} for media in MEDIA_TYPES}},
        )
    },
    "/api/dead-letters/redrive": _write("redrive", "Have dead letters run again", "RedriveRequest"),
    "/api/dead-letters/discard": _write("discard", "Have dead letters closed", "DiscardRequest"),
    "/api/tasks/{id}/pause": _change(TaskChange.PAUSE, "Pause a task; what has begun is finished"),
    "/api/tasks/{id}/resume": _change(TaskChange.RESUME, "Let a paused task go on"),
    "/api/tasks/{id}/cancel": _change(TaskChange.CANCEL, "Cancel a task for good; what has begun is finished"),
}
