"""Digests that tell which record stands at an offset of the main topic. No I/O.

A topic keeps its ID when its log loses records (an unclean leader election, a lost disk). New records then get offsets
that were settled before. So the partition record holds a digest of the record that was settled last, not only its
offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from app.delivery.state_fields import MalformedPart, number, text

_DIGEST_BYTES = 12


@dataclass(frozen=True, slots=True)
class RecordDigest:
    """A record's offset, and a digest of its key and value.

    The timestamp is left out: a restored topic may hold the same records with new timestamps.
    """

    offset: int
    digest: str

    @classmethod
    def of(cls, offset: int, key: bytes | None, value: bytes | None) -> RecordDigest:
        """The digest of a record; null and empty count as the same.

        >>> RecordDigest.of(7, b"C-1", b"{}") == RecordDigest.of(7, b"C-1", b"{}")
        True
        >>> RecordDigest.of(7, b"C-1", b"{}") == RecordDigest.of(7, b"C-2", b"{}")
        False
        """
        # The key's length keeps ("a", "bc") and ("ab", "c") apart.
        digest = blake2b(b"%d:" % len(key or b""), digest_size=_DIGEST_BYTES)
        digest.update(key or b"")
        digest.update(value or b"")
        return cls(offset, digest.hexdigest())

    def to_json(self) -> list[Any]:
        """The form in the partition record."""
        return [self.offset, self.digest]

    @classmethod
    def from_json(cls, document: Any) -> RecordDigest:
        """Read what ``to_json`` made.

        Raises:
            MalformedPart: not the digest of a record.
        """
        if type(document) is not list or len(document) != 2:
            raise MalformedPart("expected the digest of a record")
        offset, digest = document
        return cls(number(offset), text(digest))
