"""Reads the value of an event's record as strict JSON: producers' mistakes are named, and nothing is guessed.

The work is linear in the number of bytes, whatever they contain.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

from app.delivery.errors import EVENT_NOT_JSON, EVENT_NOT_TEXT, EVENT_SCHEMA, ErrorEntry

_SHOWN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# The prefix that serializers of a schema registry write: a zero byte and the schema's ID in four bytes.
_REGISTRY_PREFIX_BYTES = 5


class UnreadableValue(ValueError):
    """The bytes are not a usable JSON document. ``message`` quotes no value."""

    def __init__(self, entry: ErrorEntry, message: str) -> None:
        super().__init__(message)
        self.entry = entry
        self.message = message


def shown_name(text: str) -> str:
    """A name from an event, for messages: it is shown only if it looks like the name of a member or column."""
    return text if _SHOWN_NAME.fullmatch(text) else "(unusual name)"


def encoding_of(raw: bytes) -> str | None:
    """How bytes that should be plain text are encoded, in words; None: they look plain.

    >>> encoding_of(b"C-1"), encoding_of(bytes((0, 0, 0, 0, 7)) + b"C-1")
    (None, 'begins with the prefix of a schema registry (0x00, then schema ID 7)')
    """
    if raw.startswith(BYTE_ORDER_MARK):
        return "begins with a byte order mark (EF BB BF)"
    if raw.startswith(_UTF_16_MARKS):
        return "begins with a byte order mark of UTF-16"
    if raw[:1] == b"\0" and len(raw) >= _REGISTRY_PREFIX_BYTES:
        schema = int.from_bytes(raw[1:_REGISTRY_PREFIX_BYTES], "big")
        return f"begins with the prefix of a schema registry (0x00, then schema ID {schema})"
    return None


def read_json(value: bytes) -> Any:
    """Read a JSON value of any kind. Fractions become ``Decimal``, so that they keep their digits.

    Raises:
        UnreadableValue: not UTF-8, not JSON, or an object that has a member twice.
    """
    text = _text(value)
    try:
        return _JSON.decode(text)
    except UnreadableValue:
        raise
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at character {error.pos}{_hint(value)}"
        raise UnreadableValue(EVENT_NOT_JSON, message) from None
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UnreadableValue(EVENT_NOT_JSON, f"not JSON that can be read: {type(error).__name__}") from None


def split_array(content: bytes) -> list[bytes]:
    """The entries of a JSON array, each with its own text, so that numbers keep their digits.

    Raises:
        UnreadableValue: not a JSON array.
    """
    text = _text(content)
    entries: list[bytes] = []
    at = _skipped(text, _skipped(text, 0) + 1)
    while True:
        if text[at : at + 1] == "]" and not entries:
            break
        try:
            _, end = _PLAIN_JSON.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UnreadableValue(EVENT_NOT_JSON, f"not JSON: {error.msg} at character {error.pos}") from None
        except (ValueError, RecursionError) as error:
            raise UnreadableValue(EVENT_NOT_JSON, f"not JSON that can be read: {type(error).__name__}") from None
        entries.append(text[at:end].encode())
        at = _skipped(text, end)
        if text[at : at + 1] != ",":
            break
        at = _skipped(text, at + 1)
    if text[at : at + 1] != "]" or _skipped(text, at + 1) != len(text):
        raise UnreadableValue(EVENT_NOT_JSON, f"not JSON: the array does not end as one at character {at}")
    return entries


def _skipped(text: str, at: int) -> int:
    """The position of the next character that is not white space."""
    match = _WHITE_SPACE.match(text, at)
    return at if match is None else match.end()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise UnreadableValue(EVENT_NOT_TEXT, f"not UTF-8 at byte {error.start}{_hint(value)}") from None


def _hint(value: bytes) -> str:
    wrapped = encoding_of(value)
    return "" if wrapped is None else f"; it {wrapped}, and plain JSON in UTF-8 is needed"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableValue(EVENT_SCHEMA, f"the JSON member {shown_name(_first_repeated(pairs))} is given twice")
    return found


def _first_repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("unreachable: some name is there twice")


_JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_object)
# Only finds where a value ends; it does not check the content.
_PLAIN_JSON = json.JSONDecoder(parse_float=str, parse_int=str)
_WHITE_SPACE = re.compile(r"[ \t\n\r]*")
