"""The part of the API's description about dead letters and operators' tasks."""

from __future__ import annotations

from typing import Any

from app.delivery.operator_task import Action
from app.delivery.outcome import Outcome
from app.readmodels.audit_views import ACTIONS
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import MOST_LISTED, PAGE
from app.readmodels.tasks import TaskState
from app.web.dead_letters import MOST_TASKS, TASKS_LISTED
from app.web.letter_parameters import ALL
from app.web.openapi_parts import (
    COUNT,
    CURSOR,
    FLAG,
    OPTIONAL,
    TEXT,
    TIME,
    TIME_OR_NULL,
    guarded,
    in_path,
    limit,
    list_of,
    object_of,
    query,
    ref,
)

_PLACE = {"anyOf": [ref("Place"), {"type": "null"}]}
_OUTCOME = {"type": "string", "enum": list(Outcome)}
# A list gives the number of attempts, a single dead letter their list.
_LETTER = {
    "id": TEXT,
    "consumerId": OPTIONAL,
    "eventId": TEXT,
    "market": TEXT,
    "operation": TEXT,
    "entity": TEXT,
    "reason": TEXT,
    "fingerprint": TEXT,
    "message": TEXT,
    "attempts": COUNT,
    "firstFailedAt": TIME_OR_NULL,
    "failedAt": TIME_OR_NULL,
    "status": {"type": "string", "enum": list(ShownStatus)},
    "redrives": COUNT,
}
_SAID = {"anyOf": [ref("TaskNote"), {"type": "null"}]}
_TASK = {
    "id": TEXT,
    "action": {"type": "string", "enum": list(Action)},
    "state": {"type": "string", "enum": list(TaskState)},
    "matched": COUNT,
    "done": COUNT,
    "outcomes": {"type": "object", "additionalProperties": COUNT},
    "open": COUNT,
    "by": TEXT,
    "note": TEXT,
    "createdAt": TIME_OR_NULL,
    "selection": ref("TaskSelection"),
    "ratePerSecond": {"type": ["number", "null"]},
    "force": FLAG,
    "paused": _SAID,
    "resumed": _SAID,
    "cancelled": _SAID,
    "endedAt": TIME_OR_NULL,
}
_COMPLETE = ref("Complete")

LETTER_SCHEMAS: dict[str, Any] = {
    "DeadLetter": object_of(**_LETTER),
    "DeadLetters": object_of(complete=_COMPLETE, items=list_of(ref("DeadLetter")), next=OPTIONAL),
    "DeadLetterGroup": object_of(
        fingerprint=TEXT,
        reason=TEXT,
        entity=TEXT,
        operation=TEXT,
        open=COUNT,
        consumers=COUNT,
        oldest=TIME_OR_NULL,
        newest=TIME_OR_NULL,
        example=TEXT,
    ),
    "DeadLetterGroups": object_of(complete=_COMPLETE, items=list_of(ref("DeadLetterGroup"))),
    "Place": object_of(topic={"type": "string", "enum": ["dlq", "main"]}, offset=COUNT),
    "Attempt": object_of(at=TIME_OR_NULL, code=TEXT),
    "HistoryLine": object_of(
        at=TIME_OR_NULL,
        action=TEXT,
        outcome=OPTIONAL,
        reason=OPTIONAL,
        by=OPTIONAL,
        task=OPTIONAL,
        note=OPTIONAL,
    ),
    "Edit": object_of(offset=COUNT, at=TIME_OR_NULL, by=TEXT, note=TEXT),
    "DeadLetterDetail": object_of(
        **(_LETTER | {"attempts": list_of(ref("Attempt"))}),
        requestId=OPTIONAL,
        outcome=_OUTCOME,
        outcomeReason=OPTIONAL,
        openedAt=TIME_OR_NULL,
        hasKey=FLAG,
        size=COUNT,
        tasks=list_of(TEXT),
        history=list_of(ref("HistoryLine")),
        place=_PLACE,
        original=_PLACE,
        edit={"anyOf": [ref("Edit"), {"type": "null"}]},
        headers=list_of({"type": "array", "prefixItems": [TEXT, OPTIONAL], "minItems": 2, "maxItems": 2}),
        masked={"type": "boolean", "description": "Without the scope dlq:values, values are masked."},
        valueMissing=OPTIONAL | {"description": "Why there is no value; null if there is one."},
        complete=_COMPLETE,
    ),
    "AuditEntry": object_of(
        at=TIME_OR_NULL,
        by=TEXT,
        action={"type": "string", "enum": list(ACTIONS)},
        task=OPTIONAL,
        ids=list_of(TEXT),
        filter={"type": ["object", "null"], "additionalProperties": TEXT},
        matched={"type": ["integer", "null"]},
        force=FLAG,
        note=OPTIONAL,
    ),
    "Audit": object_of(complete=_COMPLETE, items=list_of(ref("AuditEntry")), next=OPTIONAL),
    "TaskNote": object_of(at=TIME_OR_NULL, by=TEXT, note=TEXT),
    "TaskSelection": object_of(
        by={"type": "string", "enum": ["ids", "filter", "all", "consumers"]},
        number={"type": ["integer", "null"]},
        filter={"type": "object", "additionalProperties": TEXT},
    ),
    "Task": object_of(**_TASK),
    "TaskDetail": object_of(**_TASK, complete=_COMPLETE),
    "Tasks": object_of(complete=_COMPLETE, items=list_of(ref("Task"))),
}

# A value is text, or Base64 if it is not UTF-8. ``original...``: what the producer sent, if the value was edited.
LETTER_SCHEMAS["DeadLetterDetail"]["properties"] |= dict.fromkeys(
    ("value", "valueBase64", "originalValue", "originalValueBase64"), OPTIONAL
)

_FILTERS = [
    query("fingerprint", "REASON:entity:operation, or the correlation ID of an incident.", TEXT),
    query("reason", "An error code.", TEXT),
    query("market", "One market.", TEXT),
    query("operation", "NEW, UPDATE or DELETE.", TEXT),
    query("entity", "The entity that failed.", TEXT),
    query("consumer", "A consumerId.", TEXT),
    query("since", "Last failed at this time or later.", TIME),
    query("until", "Last failed before this time.", TIME),
]
_STATUS = query("status", f"{', '.join(ShownStatus)} or {ALL}, with commas. Without it: open and redriving.", TEXT)

_LETTER_ID = in_path("id", "The ID of a dead letter, such as 5-26, or its event ID.")
_TASK_ID = in_path("id", "The ID of a task.")

LETTER_PATHS: dict[str, Any] = {
    "/api/dead-letters": {
        "get": guarded(
            "deadLetters",
            "Dead letters, the newest failure first",
            "DeadLetters",
            "dlq:read",
            [_STATUS, *_FILTERS, limit(PAGE, MOST_LISTED), CURSOR],
            400,
        )
    },
    "/api/dead-letters/groups": {
        "get": guarded(
            "deadLetterGroups", "Open dead letters by fingerprint", "DeadLetterGroups", "dlq:read", _FILTERS, 400
        )
    },
    "/api/dead-letters/{id}": {
        "get": guarded(
            "deadLetter",
            "Everything that is known of one dead letter",
            "DeadLetterDetail",
            "dlq:read",
            [
                _LETTER_ID,
                query("masked", "True: masked also with dlq:values; then nothing is recorded.", FLAG),
            ],
            400,
            404,
            409,
        )
    },
    "/api/audit": {
        "get": guarded(
            "audit",
            "What persons did and saw, newest first",
            "Audit",
            "audit:read",
            [query("since", "At this time or later.", TIME), limit(PAGE, MOST_LISTED), CURSOR],
            400,
        )
    },
    "/api/tasks": {
        "get": guarded(
            "tasks", "Operators' tasks, newest first", "Tasks", "dlq:read", [limit(TASKS_LISTED, MOST_TASKS)], 400
        )
    },
    "/api/tasks/{id}": {
        "get": guarded("task", "A task and how far it has come", "TaskDetail", "dlq:read", [_TASK_ID], 400, 404)
    },
}
