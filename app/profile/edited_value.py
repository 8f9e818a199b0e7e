"""The edit of a dead letter's value: as a person sees it, how it differs, and whether it may run. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from app.delivery.consumer_record import ConsumerState
from app.delivery.outcome import UNKNOWN_MARKET, InvalidEvent
from app.delivery.record import SourceRecord
from app.profile.entities import Catalog
from app.profile.event import ProfileEvent
from app.profile.event_reader import read_event

_CONTEXT = 3


class EditRefused(ValueError):
    """The new value may not be written; the text says why and quotes no value."""


class NotEditable(EditRefused):
    """This dead letter cannot be edited, whatever the new value is."""


class _Inexact(Exception):
    """Python would write a part of the document in another way."""


def editable_text(value: bytes) -> str:
    """The value for an editor: JSON with one member a line, if that changes no number; else as it is.

    >>> print(editable_text(b'{"a": 1, "b": [2]}'))
    {
      "a": 1,
      "b": [
        2
      ]
    }
    >>> editable_text(b'{"a": 1.10}'), editable_text(b"no JSON")
    ('{"a": 1.10}', 'no JSON')
    """
    try:
        document = json.loads(value, parse_float=_float, parse_int=_int, object_pairs_hook=_object)
        return json.dumps(document, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError, _Inexact):
        return value.decode("utf-8", "backslashreplace")


def difference(before: bytes | None, after: bytes) -> Iterator[str]:
    """What an edit changes, line by line: "-" before, "+" after. Nothing if only blanks between members differ."""
    old = [] if before is None else editable_text(before).splitlines()
    lines = difflib.unified_diff(old, editable_text(after).splitlines(), "before", "after", lineterm="", n=_CONTEXT)
    yield from lines


def checked_edit(
    event: SourceRecord, value: bytes, state: ConsumerState | None, catalog: Catalog, *, largest: int
) -> ProfileEvent:
    """Check the new value of an event; its key and headers stay.

    Args:
        event: at its position in the main topic, with its present value.
        state: the consumer's record.
        largest: bytes of key, value and headers that the topics take.

    Raises:
        EditRefused: nothing was changed, or the event would be invalid.
    """
    if not value.strip():
        raise EditRefused("the new value is empty; to delete the profile, publish a DELETE")
    if value == event.value:
        raise EditRefused("the new value is the present one; nothing was changed")
    last_market = UNKNOWN_MARKET if state is None else state.market
    try:
        return read_event(replace(event, value=value), catalog, last_market, largest=largest)
    except InvalidEvent as invalid:
        raise EditRefused(f"the edited event is invalid: {invalid.entry.code}: {invalid.message}") from None


def _float(text: str) -> float:
    if repr(float(text)) != text:
        raise _Inexact
    return float(text)


def _int(text: str) -> int:
    if str(int(text)) != text:
        raise _Inexact
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # a member that stands there twice
        raise _Inexact
    return found
