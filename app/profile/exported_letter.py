"""A dead letter as a JSON line: written by ``dlq export``, read by ``publish``. Pure.

``{"id","key","value","headers","source":{"topic","partition","offset","timestamp"},"masked"}``. Bytes that are no UTF-8
stand in ``keyBase64``, ``valueBase64`` and ``[name, {"base64": ...}]``.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from app.delivery.letter_id import LetterId
from app.delivery.record import Headers, SourceRecord
from app.delivery.state_fields import LARGEST
from app.profile.masked_value import masked_headers, masked_value


class NotAnExport(ValueError):
    """A line that looks like an exported dead letter, but cannot be published; the text quotes no value."""


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """An event with its source position, from a line of an export."""

    record: SourceRecord


def export_line(letter: LetterId, record: SourceRecord, *, masked: bool) -> dict[str, Any]:
    """The line of a dead letter. ``record``: the event, with its position in the main topic."""
    headers = masked_headers(record.headers) if masked else record.headers
    value: dict[str, Any] = {"value": masked_value(record.value)} if masked else _content("value", record.value)
    return {
        "id": str(letter),
        **_content("key", record.key),
        **value,
        "headers": [[name, _header(content)] for name, content in headers],
        "source": {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp_ms,
        },
        "masked": masked,
    }


def is_export(document: Any) -> bool:
    """Whether a JSON document is a line of an export, and not an event."""
    return isinstance(document, dict) and "masked" in document and "id" in document


def read_export(document: dict[str, Any], topic: str) -> ExportedEvent:
    """The event of a line. ``topic``: the main topic that it is to be published to.

    Raises:
        NotAnExport: it is masked, about another topic, or not complete.
    """
    if document.get("masked") is not False:
        raise NotAnExport("its values are masked; export it again with --show-values")
    source = document.get("source")
    if not isinstance(source, dict):
        raise NotAnExport("source is missing")
    if source.get("topic") != topic:
        raise NotAnExport(f"it does not come from topic {topic}, so it cannot be a redrive of one of its events")
    partition, offset = _number(source, "partition", 2**31), _number(source, "offset", LARGEST)
    timestamp = _number(source, "timestamp", 2**63) if "timestamp" in source else 0
    key = _bytes(document, "key")
    if not key:
        raise NotAnExport("it has no key")
    headers = document.get("headers", [])
    if not isinstance(headers, list):
        raise NotAnExport("headers is not a list")
    record = SourceRecord(topic, partition, offset, timestamp, key, _bytes(document, "value"), _headers(headers))
    return ExportedEvent(record)


def _content(name: str, content: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if content is None else content.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(content or b"").decode()}


def _header(content: bytes | None) -> Any:
    [(name, text)] = _content("text", content).items()
    return text if name == "text" else {"base64": text}


def _bytes(document: dict[str, Any], name: str) -> bytes | None:
    given = [one for one in (name, f"{name}Base64") if one in document]
    if len(given) != 1:
        raise NotAnExport(f"it needs either {name} or {name}Base64")
    return _decoded(document[given[0]], given[0], encoded=given[0] != name)


def _decoded(text: Any, name: str, *, encoded: bool) -> bytes | None:
    if text is None and not encoded:
        return None
    if isinstance(text, str):
        try:
            return base64.b64decode(text, validate=True) if encoded else text.encode()
        except ValueError:  # also of half a surrogate pair
            pass
    raise NotAnExport(f"{name} is not {'base64' if encoded else 'text'}")


def _headers(given: list[Any]) -> Headers:
    found: list[tuple[str, bytes | None]] = []
    for one in given:
        match one:
            case [str() as name, _] if not _is_name(name):
                raise NotAnExport("the name of a header is not text")
            case [str() as name, {"base64": text}]:
                found.append((name, _decoded(text, "a header", encoded=True)))
            case [str() as name, str() | None as text]:
                found.append((name, _decoded(text, "a header", encoded=False)))
            case _:
                raise NotAnExport("headers must be a list of [name, text]")
    return tuple(found)


def _is_name(name: str) -> bool:
    """Whether Kafka's client can take it as the name of a header: UTF-8 without a zero byte."""
    return "\0" not in name and name.encode(errors="replace").decode() == name


def _number(source: dict[str, Any], name: str, limit: int) -> int:
    value = source.get(name)
    if type(value) is not int or not 0 <= value < limit:
        raise NotAnExport(f"source.{name} is not a possible number")
    return value


def export_text(line: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))
