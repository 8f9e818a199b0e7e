"""The bytes of a dead letter as a person sees them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.delivery.record import Headers, SourceRecord
from app.profile.masked_value import masked_headers, masked_value


@dataclass(frozen=True, slots=True)
class ShownValue:
    """``event``: None: there is nothing to show, and ``why`` says why. ``original``: what the producer sent, if the
    event was edited."""

    event: SourceRecord | None
    why: str = ""
    original: SourceRecord | None = None
    masked: bool = True


def value_view(shown: ShownValue) -> dict[str, Any]:
    """The fields of ``dlq show --json`` and the API about the value."""
    event = shown.event
    if event is None:
        return {"value": None, "headers": [], "masked": shown.masked, "valueMissing": shown.why}
    return {
        **_value("value", event.value, masked=shown.masked),
        "headers": [[name, _text(content)] for name, content in _headers(event.headers, masked=shown.masked)],
        "masked": shown.masked,
        "valueMissing": None,
        **(_value("originalValue", shown.original.value, masked=shown.masked) if shown.original is not None else {}),
    }


def value_lines(shown: ShownValue) -> Iterator[str]:
    """Headers and value for a terminal. A value is printed as it is, however long, so that it can be copied."""
    event = shown.event
    if event is None:
        yield f"  value        {shown.why}"
        return
    for name, content in _headers(event.headers, masked=shown.masked):
        yield f"  header     {name}: {_text(content)}"
    yield "  value      " + ("masked; --show-values shows it" if shown.masked else "as a redrive would run it")
    yield _shown_text(event.value, masked=shown.masked)
    if shown.original is not None:
        yield "  original   as the producer sent it"
        yield _shown_text(shown.original.value, masked=shown.masked)


def _headers(headers: Headers, *, masked: bool) -> Headers:
    return masked_headers(headers) if masked else headers


def _value(name: str, value: bytes | None, *, masked: bool) -> dict[str, Any]:
    if masked:
        return {name: masked_value(value)}
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(value or b"").decode()}


def _shown_text(value: bytes | None, *, masked: bool) -> str:
    [(name, text)] = _value("value", value, masked=masked).items()
    return "null: it deletes the profile of the key" if text is None else text if name == "value" else f"base64: {text}"


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "backslashreplace")
