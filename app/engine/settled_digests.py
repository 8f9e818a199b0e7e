"""Digests of records that may belong to another log than the one that is read now.

A log that loses records and is filled again has a new leader (an unclean election, a broker that starts with an empty
disk), and every batch names the epoch of its leader. So when the epoch changes, the newest digests from before the
change are *pinned*: they stay in the partition record until a comparison has found the same records in the topic.
Otherwise the next commit would replace them by the digest of a record of the new log, which always matches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from app.delivery.record_digest import RecordDigest

# Two are pinned at a change, and a comparison follows within seconds.
MOST_PINNED = 8


class Pinned:
    """The pinned digests of one partition. ``times``: how often digests were pinned."""

    def __init__(self, those: Iterable[RecordDigest] = ()) -> None:
        self.all: tuple[RecordDigest, ...] = tuple(those)
        self.times = 0

    def add(self, those: Iterable[RecordDigest]) -> None:
        """Pin these digests too."""
        self.times += 1
        self.all = at_most(MOST_PINNED, dict.fromkeys((*self.all, *those)))

    def drop(self, those: Collection[RecordDigest]) -> None:
        """Unpin these: the topic holds their records, or no longer reaches back to them."""
        self.all = tuple(one for one in self.all if one not in those)


def at_most(most: int, those: Iterable[RecordDigest]) -> tuple[RecordDigest, ...]:
    """At most this many of the digests, in the order of their offsets.

    Of the two that lie closest together, the upper one is dropped, until few enough are left. A log is cut at one
    place, and everything above is lost. So the lower digest shows the cut too, unless the cut is between the two.

    >>> [one.offset for one in at_most(3, [RecordDigest(offset, "") for offset in (2, 40, 900, 41)])]
    [2, 40, 900]
    """
    kept = sorted(those, key=lambda one: one.offset)
    while len(kept) > most:
        closest = min(range(1, len(kept)), key=lambda at: kept[at].offset - kept[at - 1].offset)
        del kept[closest]
    return tuple(kept)
