"""Which record stood at an offset of the main topic. No I/O.

A topic keeps its ID when its log loses records (an unclean leader election, a lost disk), and new records then get
offsets that were settled already. So the record of a partition says which record it settled last, not only its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from app.delivery.state_fields import UnlikeOurs, number, text

_DIGEST_BYTES = 12


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A record: its offset, and a digest of its key and value. Its timestamp does not count: a restored topic may hold
    the same records with new ones."""

    offset: int
    digest: str

    @classmethod
    def of(cls, offset: int, key: bytes | None, value: bytes | None) -> Fingerprint:
        """Of this record; null and empty are alike.

        >>> Fingerprint.of(7, b"C-1", b"{}") == Fingerprint.of(7, b"C-1", b"{}")
        True
        >>> Fingerprint.of(7, b"C-1", b"{}") == Fingerprint.of(7, b"C-2", b"{}")
        False
        """
        # The key's length keeps ("a", "bc") and ("ab", "c") apart.
        digest = blake2b(b"%d:" % len(key or b""), digest_size=_DIGEST_BYTES)
        digest.update(key or b"")
        digest.update(value or b"")
        return cls(offset, digest.hexdigest())

    def to_json(self) -> list[Any]:
        """For the record."""
        return [self.offset, self.digest]

    @classmethod
    def from_json(cls, document: Any) -> Fingerprint:
        """Read what ``to_json`` made.

        Raises:
            UnlikeOurs: it is none.
        """
        if type(document) is not list or len(document) != 2:
            raise UnlikeOurs("no fingerprint of a record where one should be")
        offset, digest = document
        return cls(number(offset), text(digest))
