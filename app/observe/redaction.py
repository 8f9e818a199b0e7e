"""Removes secrets and personal data from log entries: secrets by the name of their key, personal data by its pattern.

Pure, apart from the hash key. The program itself never logs a row or a token; this is a safety net for libraries and
mistakes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any

MASK = "***"

# The value of a key that matches is always masked.
_SECRET_KEYS = re.compile(
    r"(?i)token$|secret|password|passwd|authorization|cookie|credential|private_?key|api_?key|^values?$|^rows?$|^body$"
    r"|^email|^phone|^headers$"
)
# The value of these keys is a consumer ID, which is replaced by its hash.
_CONSUMER_KEYS = frozenset({"consumer_id", "consumerId", "consumer"})
# The values of these keys may look like telephone numbers, but they are identifiers of this program.
_PLAIN_KEYS = frozenset({"timestamp", "level", "logger", "event_id", "record", "task_id", "partition", "offset"})

# The patterns take linear time: each looks at a character at most a few times, however long the text is.
_NO_ADDRESS = r"\s@'\"<>()\[\],;:="
_EMAIL = re.compile(rf"(?<![^{_NO_ADDRESS}])[^{_NO_ADDRESS}]++@[^{_NO_ADDRESS}]+\.[A-Za-z]{{2,}}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_DOTTED = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+){2,}")
_JWT_BEGINS = re.compile(r"\beyJ[A-Za-z0-9_-]{5}")
# pydantic quotes the offending input in its message.
_INPUT_BEGINS, _INPUT_ENDS = "input_value=", ", input_type="
# Seven digits or more: a telephone number, a birth date, an account number. UUIDs match first and are kept.
_DIGITS = re.compile(
    r"(?P<uuid>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b)"
    r"|\+\d[\d ()/-]{5,}\d|(?<![\w.-])\d{7,}(?![\w-])"
)

# Values below this depth are masked. Log entries are flat; a deeper value is a document that should not be logged.
_DEEPEST = 4


class ConsumerHasher:
    """Replaces a consumer ID in logs by the first 12 hex digits of its HMAC-SHA256.

    With the same key (``LOG_HASH_KEY``) a consumer has the same hash in all workers and runs. Without a key, a random
    one is used for the life of the process.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def __call__(self, consumer_id: str) -> str:
        return hmac.new(self._key, consumer_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]


_hasher = ConsumerHasher()


def use_hash_key(key: bytes | None) -> None:
    """Set the key of ``hash_consumer`` for this process."""
    global _hasher
    _hasher = ConsumerHasher(key)


def hash_consumer(consumer_id: str) -> str:
    """A consumer's name in logs and tickets: 12 hex digits, see ``ConsumerHasher``."""
    return _hasher(consumer_id)


def mask_text(text: str) -> str:
    """``text`` without e-mail addresses, telephone numbers and other long digit strings, tokens and quoted input.

    >>> mask_text("refused for ann@example.com, call +49 151 2345678")
    'refused for ***, call ***'
    >>> mask_text("event 0f8fad5b-d9cb-469f-a165-70867728950e at offset 12")
    'event 0f8fad5b-d9cb-469f-a165-70867728950e at offset 12'
    """
    if _INPUT_BEGINS in text:
        text = _without_input(text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    if "eyJ" in text:
        text = _DOTTED.sub(_without_jwt, text)
    text = _EMAIL.sub(MASK, text)
    return _DIGITS.sub(lambda match: match.group() if match.group("uuid") else MASK, text)


def _without_input(text: str) -> str:
    before, *quoted = text.split(_INPUT_BEGINS)
    parts = [before]
    for part in quoted:
        _, end, after = part.partition(_INPUT_ENDS)
        parts += [_INPUT_BEGINS, MASK, end, after]
    return "".join(parts)


def _without_jwt(dotted: re.Match[str]) -> str:
    """A text of words joined by dots, with a JWT in it masked: a JWT has two dots and begins with base64 of ``{"``."""
    text = dotted.group()
    found = _JWT_BEGINS.search(text)
    return text[: found.start()] + MASK if found and text.count(".", found.start()) >= 2 else text


def redact(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A log entry that is safe to write: secrets and texts are masked and consumer IDs hashed, at any depth."""
    return {key: _redacted(key, value, 0) for key, value in entry.items()}


def _redacted(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_KEYS.search(key):
        return MASK
    if key in _CONSUMER_KEYS:
        return hash_consumer(value) if isinstance(value, str) and not _is_hash(value) else _masked(value, depth)
    if key in _PLAIN_KEYS and isinstance(value, str | int):
        return value
    return _masked(value, depth)


def _masked(value: Any, depth: int) -> Any:
    match value:
        case int() | float():
            return value
        case str():
            return mask_text(value)
        case bytes() | bytearray():
            return f"<{len(value)} bytes>"
        case _ if depth >= _DEEPEST:
            return MASK
        case Mapping():
            return {str(key): _redacted(str(key), inner, depth + 1) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(inner, depth + 1) for inner in value]
        case _:
            return mask_text(str(value))


def _is_hash(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{12}", text) is not None
