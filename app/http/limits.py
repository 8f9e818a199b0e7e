"""How much of an answer is read, whatever the other side sends."""

from __future__ import annotations

import zlib

# Status line, headers and trailers. Real ones have one or two KiB; other clients stop at 8 to 64.
HEADER_BYTES = 64 * 1024
# A body as it comes, and unpacked. A page of a Retrieve (2,500 rows) has one or two MiB.
BODY_BYTES = 16 * 1024 * 1024
# A gzip body may consist of several members (RFC 1952 section 2.2); servers send one.
GZIP_MEMBERS = 10
_GZIP = 16 + zlib.MAX_WBITS


class AnswerTooLarge(Exception):
    """More came than is read. The text says what."""


def unpacked(body: bytes, most: int = BODY_BYTES) -> bytes:
    """What a gzip body holds; zeros at its end are ignored.

    Raises:
        AnswerTooLarge: more than ``most`` bytes, or too many members.
        ValueError: it is not gzip, or cut off.
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
