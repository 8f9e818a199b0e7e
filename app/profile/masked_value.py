"""An event's value without its values: the structure stays, so that a person sees what is there. Pure."""

from __future__ import annotations

import json
from typing import Any

from app.delivery.foreign_letter import is_telling
from app.delivery.headers import PREFIX
from app.delivery.record import Headers
from app.profile.masking import MASK

# Members of an event, or of the CloudEvent around it, that are no personal data but the consumer's ID.
_KEPT = frozenset(
    {"eventId", "operation", "consumerId", "market", "occurredAt", "deleteScope", "specversion", "id", "type", "time"}
)
_LONGEST_KEPT = 254
_KEPT_HEADERS = frozenset({"content-type", "ce_id", "ce_specversion", "ce_type", "ce_time", "ce_source"})
_DEEPEST = 20


def masked_value(value: bytes | None) -> str | None:
    """The value as text: identifiers stay, every other text or number is masked. What is no JSON is masked as a whole.

    >>> masked_value(b'{"eventId": "e-1", "consumer": {"FirstName": "Ann", "Gender": null}}')
    '{"eventId": "e-1", "consumer": {"FirstName": "***", "Gender": null}}'
    >>> masked_value(b"Ann Lee"), masked_value(None)
    ('***', None)
    """
    if value is None:
        return None
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return MASK
    return json.dumps(_masked(document, top=True), ensure_ascii=False)


def masked_headers(headers: Headers) -> Headers:
    """Headers without the values that a producer or another program may have put there. Ours stay.

    >>> masked_headers((("ce_id", b"e-1"), ("user", b"Ann"), ("x-sync-reason", b"R")))
    (('ce_id', b'e-1'), ('user', b'***'), ('x-sync-reason', b'R'))
    """
    return tuple((name, value if value is None or _stays(name, value) else MASK.encode()) for name, value in headers)


def _stays(name: str, value: bytes) -> bool:
    return name in _KEPT_HEADERS or name.startswith(PREFIX) or is_telling(name, value)


def _masked(content: Any, *, top: bool, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return MASK
    match content:
        case dict():
            return {
                name: value
                if top and name in _KEPT and isinstance(value, str) and len(value) <= _LONGEST_KEPT
                else _masked(value, top=top and name == "data", depth=depth + 1)
                for name, value in content.items()
            }
        case list():
            return [_masked(one, top=False, depth=depth + 1) for one in content]
        case bool() | None:
            return content
        case _:
            return MASK
