"""An answer of the ticket system, within bounds: whatever it sends, reading it takes little time and memory."""

from __future__ import annotations

import json
import zlib
from typing import Any

import aiohttp

from app.incidents.tickets import TicketError

# An answer holds one incident with the few fields that were asked for, or a reason.
LARGEST_BODY_BYTES = 1024 * 1024
# A reason in a log line.
LONGEST_REASON = 300

# Content codings; the window bits of 47 take zlib's and gzip's form.
_CODINGS = {"gzip": 47, "x-gzip": 47, "deflate": 47}


class TicketAnswerTooLarge(TicketError):
    """More than an answer may have, packed or unpacked."""

    def __init__(self) -> None:
        super().__init__(f"the answer has more than {LARGEST_BODY_BYTES} bytes")


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, unpacked. The session must not unpack it: that has no bound.

    Raises:
        TicketError: it is too large, or packed in a way that is not known.
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
        TicketError: it is too large, or packed in a way that is not known.
    """
    if coding not in _CODINGS:
        raise TicketError("the answer is packed in a way that was not asked for")
    unpacker = zlib.decompressobj(_CODINGS[coding])
    try:
        found = unpacker.decompress(body, LARGEST_BODY_BYTES + 1)
    except zlib.error:
        raise TicketError("the answer cannot be unpacked") from None
    if len(found) > LARGEST_BODY_BYTES:
        raise TicketAnswerTooLarge
    return found


def read_json(body: bytes) -> Any:
    """The document of a body; None for what is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def stated_reason(document: Any) -> str:
    """What an error answer of the Table API says, on one line; empty if it says nothing.

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
