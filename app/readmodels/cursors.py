"""The cursor of a page: the place where the page before it ended, as a text for people and URLs. Pure."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import orjson

from app.delivery import state_fields as fields


class CursorError(ValueError):
    """A cursor that no page of this list gave."""


def encode_place(place: Sequence[int], about: object) -> str:
    """The cursor of the page that follows ``place``. ``about``: what the list shows; its ``repr`` must be stable.

    >>> decode_place(encode_place([7, 1], "partial"), "partial", 2)
    (7, 1)
    """
    content = orjson.dumps([*place, _digest(about)])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode_place(cursor: str, about: object, size: int) -> tuple[int, ...]:
    """The place that ``encode_place`` was given. ``size``: how many numbers a place has.

    Raises:
        CursorError: another text, or the cursor of another list.
    """
    try:
        content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        *place, digest = fields.numbers(orjson.loads(content))
        if len(place) != size:
            raise ValueError
    except (ValueError, TypeError, binascii.Error):
        raise CursorError("not a cursor of this list; leave it out to begin with the first page") from None
    if digest != _digest(about):
        raise CursorError("the cursor belongs to another filter; leave it out to begin with the first page")
    return tuple(place)


def _digest(about: object) -> int:
    return zlib.crc32(repr(about).encode("utf-8", "surrogatepass"))
