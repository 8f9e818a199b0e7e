"""Digests of records that may have stood in another log than the one that is read now.

A log that loses records and is filled again has a new leader (an unclean election, a broker that starts with an empty
disk), and every batch names its leader's epoch. So when the epoch changes, the newest records from before the change
are *pinned*: their digests stay in the durable record until a comparison found the same records in the topic.
Without that, the next commit would replace them by the digest of a record of the new log, which always fits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from app.delivery.record_digest import RecordDigest

# Two are pinned at a change, and a comparison follows within seconds.
MOST_PINNED = 8


class Pinned:
    """What is pinned of one partition. ``times``: how often something was."""

    def __init__(self, those: Iterable[RecordDigest] = ()) -> None:
        self.all: tuple[RecordDigest, ...] = tuple(those)
        self.times = 0

    def add(self, those: Iterable[RecordDigest]) -> None:
        """Pin these too."""
        self.times += 1
        self.all = at_most(MOST_PINNED, dict.fromkeys((*self.all, *those)))

    def drop(self, those: Collection[RecordDigest]) -> None:
        """The topic holds these records, or cannot hold them any more."""
        self.all = tuple(one for one in self.all if one not in those)


def at_most(most: int, those: Iterable[RecordDigest]) -> tuple[RecordDigest, ...]:
    """So many of them, in the order of their offsets.

    Left out are those that stand closest above another one. A log is cut at one place and everything above it is lost,
    so another pinned record tells of the cut too, unless it was made in the few records between the two.

    >>> [one.offset for one in at_most(3, [RecordDigest(offset, "") for offset in (2, 40, 900, 41)])]
    [2, 40, 900]
    """
    kept = sorted(those, key=lambda one: one.offset)
    while len(kept) > most:
        closest = min(range(1, len(kept)), key=lambda at: kept[at].offset - kept[at - 1].offset)
        del kept[closest]
    return tuple(kept)
