"""Limits on the size of an answer, whatever the server sends."""

from __future__ import annotations

import zlib

# Status line, headers and trailers. Real ones have 1 or 2 KiB; other clients allow 8 to 64.
HEADER_BYTES = 64 * 1024
# The body as received, and also unpacked. A page of a Retrieve (2,500 rows) has 1 or 2 MiB.
BODY_BYTES = 16 * 1024 * 1024
# A gzip body may consist of several members (RFC 1952 section 2.2); servers send one.
GZIP_MEMBERS = 10
_GZIP = 16 + zlib.MAX_WBITS


class AnswerTooLarge(Exception):
    """The answer exceeds a limit; the text says which one."""


def unpacked(body: bytes, most: int = BODY_BYTES) -> bytes:
    """The content of a gzip body; zeros at its end are ignored.

    Raises:
        AnswerTooLarge: more than ``most`` bytes, or too many members.
        ValueError: not gzip, or cut off.
    """
    parts: list[bytes] = []
    room = most
    while body:
        if len(parts) == GZIP_MEMBERS:
            raise AnswerTooLarge(f"more than {GZIP_MEMBERS} gzip members")
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(body, room + 1)
        except zlib.error:
            raise ValueError("not gzip") from None
        room -= len(part)
        if room < 0:
            raise AnswerTooLarge(f"more than {most:,} bytes unpacked")
        if not member.eof:
            raise ValueError("cut off")
        parts.append(part)
        body = member.unused_data.lstrip(b"\0")
    return parts[0] if len(parts) == 1 else b"".join(parts)
