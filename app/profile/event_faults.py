"""Faults of an event's members in plain words, without values, patterns or a library's own texts. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from app.profile.event_value import shown_name

EXAMPLE_TIME = "2026-11-21T10:00:00Z"
_PATTERNS = {
    "occurredAt": f"must be an RFC 3339 time with seconds and an offset from UTC, such as {EXAMPLE_TIME}",
    "market": "must be 1 to 16 letters, digits or hyphens, such as DE",
}
_TYPES = {
    "missing": "is required",
    "dict_type": "must be a JSON object",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
}
_LONG, _ONE_OF = "String should have at most ", "Input should be "


def in_words(kind: str, loc: tuple[int | str, ...], message: str, members: Sequence[str]) -> str:
    """One fault, in words.

    Args:
        kind: pydantic's name of the fault.
        loc: its location.
        message: pydantic's message, used if there is no better text.
        members: the names of members that an event may have.

    >>> in_words("extra_forbidden", ("eventid",), "Extra inputs are not permitted", ["eventId", "market"])
    'unknown member `eventid`, did you mean `eventId`?'
    >>> in_words("enum", ("operation",), "Input should be 'NEW', 'UPDATE' or 'DELETE'", [])
    'operation: must be NEW, UPDATE or DELETE'
    >>> in_words("enum", ("entities", "pets", "[key]"), "Input should be 'child' or 'pet'", [])
    'entities: unknown member `pets`, did you mean `pet`?'
    """
    if kind == "extra_forbidden":
        return unknown_member(str(loc[-1]), members)
    if loc[-1:] == ("[key]",):
        known = message.removeprefix(_ONE_OF).replace(" or ", ", ").replace("'", "").split(", ")
        return f"{place_of(loc[:-2])}: {unknown_member(str(loc[-2]), known)}"
    place = place_of(loc)
    if kind == "string_pattern_mismatch":
        what = _PATTERNS.get(str(loc[-1]), "has a form that is not allowed")
    elif kind == "enum":
        what = message.replace(_ONE_OF, "must be ").replace("'", "")
    elif kind == "string_too_long":
        what = message.replace(_LONG, "must have at most ")
    else:
        what = _TYPES.get(kind, message)
    return f"{place}: {what}" if place else what


def place_of(loc: tuple[int | str, ...]) -> str:
    """A location in words, such as ``entities.pet.1``."""
    return ".".join(str(part) if isinstance(part, int) else shown_name(part) for part in loc if part != "[key]")


def unknown_member(name: str, known: Sequence[str]) -> str:
    """Names a member that an event must not have, and a known one that may be meant."""
    shown = shown_name(name)
    fault = f"unknown member `{shown}`"
    if shown != name:
        return fault
    # Matches ``event_id`` and ``EVENTID`` to ``eventId``.
    forms = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.replace("_", "").casefold(), forms, n=1, cutoff=0.7)
    return f"{fault}, did you mean `{forms[near[0]]}`?" if near else fault
