"""What the headers of an answer's batches say, before any batch is read. Pure.

A batch's CRC does not cover the fields in front of it: base offset, length, leader epoch and format. A wrong length or
format makes the CRC wrong, and a wrong epoch only causes a comparison. But a wrong base offset gives events the offsets
of other events, which would then be skipped. So base offsets must rise. A gap alone is no damage: compaction leaves
gaps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

# How a batch of format v2 begins: base offset, length, leader epoch, format, (CRC, attributes,) last offset delta.
HEADER = struct.Struct(">qiib6xi")
OVERHEAD = 12  # bytes of base offset and length


@dataclass(slots=True)
class Headers:
    """What was found.

    ``epochs``: leader epochs of the complete batches, without repetitions. ``first``: the base offset of the first
    batch; None: no batch is complete.

    The batches from byte ``start`` to byte ``stop`` (None: the end) may be read. The batch at ``stop`` should begin at
    offset ``at``. ``base`` is its base offset if it is out of order. None: it begins behind a gap and is the last
    batch, so only the next answer shows whether it is in order.
    """

    epochs: list[int] = field(default_factory=list)
    first: int | None = None
    start: int = 0
    stop: int | None = None
    at: int = 0
    base: int | None = None


def look_through(data: bytes, position: int) -> Headers:
    """Check the headers of the answer to a fetch at a position."""
    # Nearly always, the batches follow each other without a gap. This loop runs for every batch, so it is short.
    end, unpack, epochs = len(data), HEADER.unpack_from, []
    if end < HEADER.size:
        return Headers()
    first, _, epoch, _, _ = unpack(data)
    place, expected, limit = 0, first, end - HEADER.size
    if 0 <= first <= position:
        epochs.append(epoch)
        while place <= limit:
            base, length, leader, magic, delta = unpack(data, place)
            if base != expected or magic != 2 or delta < 0 or length <= 0:
                break
            place += OVERHEAD + length
            if place > end:
                break
            if leader != epoch:
                epoch = leader
                epochs.append(epoch)
            expected = base + delta + 1
        if place == end:
            return Headers(epochs, first)
    return look_closely(data, position)


def look_closely(data: bytes, position: int) -> Headers:
    """As ``look_through``, for any answer.

    Where base offsets fall, one of two batches is damaged: the first of them if it began behind a gap, else the second.
    """
    found = Headers()
    epochs, end = found.epochs, len(data)
    place, expected, last = 0, position, -1
    gap: tuple[int, int, int] | None = None  # of the batch before: its byte, the offset expected there, its base offset
    while place + HEADER.size <= end:
        base, length, epoch, magic, delta = HEADER.unpack_from(data, place)
        if length <= 0 or (magic >= 2 and delta < 0):
            return found  # damaged in a way that reading will find
        if base <= last or base < 0:
            if gap is not None and gap[0] == 0 and (wanted := _place_of(data, place, position)) is not None:
                # The batches in front of the requested offset are older.
                found.start, found.first, found.epochs = wanted, None, []
                place, last, gap, epochs = wanted, -1, None, found.epochs
                continue
            found.stop, found.at, found.base = (place, expected, base) if gap is None else gap
            return found
        gap = (place, expected, base) if base > expected and magic == 2 else None
        place += OVERHEAD + length
        if place > end:
            return found  # cut off by the broker
        last = base
        found.first = base if found.first is None else found.first
        if magic == 2:
            last += delta
            if not epochs or epoch != epochs[-1]:
                epochs.append(epoch)
        expected = max(position, last + 1)
    if gap is not None and gap[0] > found.start:
        found.stop, found.at, _ = gap
    return found


def _place_of(data: bytes, place: int, offset: int) -> int | None:
    """The byte, from ``place`` on, where the batch that holds an offset begins; None: offsets do not rise up to it."""
    last = -1
    while place + HEADER.size <= len(data):
        base, length, _, _, delta = HEADER.unpack_from(data, place)
        if length <= 0 or delta < 0 or base <= last or base > offset:
            return None
        last = base + delta
        if last >= offset:
            return place
        place += OVERHEAD + length
    return None
