"""CloudEvents 1.0 in structured mode: one JSON document with the event as its ``data``.

Source: CloudEvents, "JSON Event Format" and "Kafka Protocol Binding" (3.3, Structured Content Mode).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.delivery.errors import EVENT_SCHEMA
from app.profile.event_value import UnreadableValue

# The beginning of the header ``content-type``. A format suffix and parameters such as charset follow.
MEDIA_TYPE = "application/cloudevents"


def is_structured(content_type: str | None) -> bool:
    """Whether a record's ``content-type`` says that its value is a whole CloudEvent.

    >>> is_structured("application/cloudevents+json; charset=UTF-8"), is_structured("application/json")
    (True, False)
    """
    return content_type is not None and content_type.strip().lower().startswith(MEDIA_TYPE)


def structured_data(document: Mapping[str, Any]) -> dict[str, Any]:
    """The event in a CloudEvent, with ``id`` as its eventId and, if it has no occurredAt of its own, ``time`` as that.

    Raises:
        UnreadableValue: not a CloudEvent, or one without a JSON object.
    """
    if not isinstance(document.get("specversion"), str):
        raise UnreadableValue(EVENT_SCHEMA, "content-type says CloudEvent, but the value has no specversion")
    data = document.get("data")
    if "data_base64" in document:
        raise UnreadableValue(EVENT_SCHEMA, "the CloudEvent has data_base64; the event must be a JSON object in data")
    if not isinstance(data, dict):
        raise UnreadableValue(EVENT_SCHEMA, "the CloudEvent has no JSON object in data")
    event = dict(data)
    event["eventId"] = document.get("id")
    if "occurredAt" not in event and "time" in document:
        event["occurredAt"] = document["time"]
    return event
