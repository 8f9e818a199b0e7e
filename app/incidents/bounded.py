"""Reads an answer of the ticket system with limits on size, so that no answer costs much time or memory."""

from __future__ import annotations

import json
import zlib
from typing import Any

import aiohttp

from app.incidents.tickets import TicketError

# An answer holds an incident with the few requested fields, or the reason of an error.
LARGEST_BODY_BYTES = 1024 * 1024
# For a reason in a log line.
LONGEST_REASON = 300

# Content codings; 47 as window bits accepts the formats of zlib and gzip.
_CODINGS = {"gzip": 47, "x-gzip": 47, "deflate": 47}


class TicketAnswerTooLarge(TicketError):
    """An answer exceeds the limit, packed or unpacked."""

    def __init__(self) -> None:
        super().__init__(f"the answer has more than {LARGEST_BODY_BYTES} bytes")


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The unpacked body. The session must not unpack it itself, because it would do so without a limit.

    Raises:
        TicketError: the body is too large, or its content coding is not known.
        aiohttp.ClientError: the connection broke.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY_BYTES:
            raise TicketAnswerTooLarge
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    return bytes(body) if coding in ("", "identity") else unpacked(bytes(body), coding)


def unpacked(body: bytes, coding: str) -> bytes:
    """A body without its content coding.

    Raises:
        TicketError: the body is too large, or the coding is not known.
    """
    if coding not in _CODINGS:
        raise TicketError("the answer has a content coding that was not requested")
    unpacker = zlib.decompressobj(_CODINGS[coding])
    try:
        found = unpacker.decompress(body, LARGEST_BODY_BYTES + 1)
    except zlib.error:
        raise TicketError("the answer cannot be unpacked") from None
    if len(found) > LARGEST_BODY_BYTES:
        raise TicketAnswerTooLarge
    return found


def read_json(body: bytes) -> Any:
    """The JSON document of a body; None if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def stated_reason(document: Any) -> str:
    """The reason that an error answer of the Table API gives, on one line; empty if it gives none.

    >>> stated_reason({"error": {"message": "Operation Failed", "detail": "Data Policy Exception: Close code"}})
    'Operation Failed: Data Policy Exception: Close code'
    >>> stated_reason({"error": "access_denied"}), stated_reason(["?"])
    ('access_denied', '')
    """
    error = document.get("error") if isinstance(document, dict) else None
    texts: list[Any] = [error]
    if isinstance(error, dict):
        texts = [error.get("message"), error.get("detail")]
    said = ": ".join(text[:LONGEST_REASON] for text in texts if isinstance(text, str) and text)
    return "".join(c if c.isprintable() else " " for c in said)[:LONGEST_REASON].strip()
