"""The parent rows as last seen: a hint that saves strategy ``reconcile`` a call."""

from __future__ import annotations

from collections import OrderedDict

from app.profile.entities import Row, as_text

# About 200 bytes each.
CONSUMERS_MOST = 50_000


class SeenParents:
    """Digests of the parent rows that were last written or found to be right, for at most ``most`` consumers.

    They may be out of date, because another worker or program may have written since. So they may only decide whether
    the parent is read before it is posted, or posted at once. Both end with the right row.
    """

    def __init__(self, most: int = CONSUMERS_MOST) -> None:
        self._most = most
        self._seen: OrderedDict[str, int] = OrderedDict()

    def changed(self, consumer_id: str, row: Row) -> bool:
        """Whether another row was seen; False if none was."""
        seen = self._seen.get(consumer_id)
        return seen is not None and seen != _fingerprint(row)

    def note(self, consumer_id: str, row: Row) -> None:
        """Note the present row of a parent."""
        self._seen[consumer_id] = _fingerprint(row)
        self._seen.move_to_end(consumer_id)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)


def _fingerprint(row: Row) -> int:
    return hash(frozenset((column, as_text(value)) for column, value in row.items()))
