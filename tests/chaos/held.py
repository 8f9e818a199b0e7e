"""What a consumer's rows may be after its calls. Pure.

The simulator notes calls in the order in which they took effect, so the rows follow from them. But the journal does not
say whether a call with a bad answer took effect. So for each row, all possible contents are kept: usually one, more
after a write that is in doubt, and one again after the next good write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from app.profile.entities import Catalog
from tests.support.simulator_probe import Call

# Data extension and values of the primary key.
Place = tuple[str, tuple[str | None, ...]]
# The columns of a row that have a value (an empty one is no value); None: there is no such row.
Content = frozenset[tuple[str, str]] | None

_ABSENT: frozenset[Content] = frozenset([None])


def content_of(row: Mapping[str, str | None]) -> frozenset[tuple[str, str]]:
    """The columns that have a value."""
    return frozenset((column, value) for column, value in row.items() if value)


@dataclass(frozen=True)
class Held:
    """The rows of one consumer. ``keys``: data extension -> its primary key."""

    keys: Mapping[str, tuple[str, ...]]
    rows: Mapping[Place, frozenset[Content]] = field(default_factory=dict)

    @classmethod
    def nothing(cls, catalog: Catalog) -> Held:
        tables = catalog.data_extensions.values()
        return cls({table.customer_key: table.primary_key for table in tables})

    def of(self, place: Place) -> frozenset[Content]:
        """All possible contents of the row."""
        return self.rows.get(place, _ABSENT)

    def places(self) -> Iterator[Place]:
        """The rows that may exist."""
        return iter(self.rows)

    def place(self, data_extension: str, row: Mapping[str, str | None]) -> Place:
        """Where a row stands that has at least its primary key."""
        return data_extension, tuple(row.get(column) for column in self.keys[data_extension])

    def has(self, call: Call) -> bool:
        """Whether a good call certainly writes a row that is already held."""
        if call.operation != "Update" or call.status != "ok" or call.data_extension not in self.keys:
            return False
        for row in call.rows:
            before = self.of(self.place(call.data_extension, row))
            if None in before or any(_updated(content, row) != content for content in before):
                return False
        return True

    def after(self, call: Call, *, certain: bool) -> Held:
        """The rows once the call was made. ``certain``: it took effect, and nothing else did at the time."""
        if call.operation not in ("Update", "Delete") or call.data_extension not in self.keys:
            return self
        rows = dict(self.rows)
        for row in call.rows:
            place = self.place(call.data_extension, row)
            before = self.of(place)
            if call.operation == "Delete":
                after: frozenset[Content] = _ABSENT
            else:
                after = frozenset(_updated(content, row) for content in before)
            rows[place] = after if certain else before | after
            if rows[place] == _ABSENT:
                del rows[place]
        return Held(self.keys, rows)


def _updated(content: Content, row: Mapping[str, str | None]) -> Content:
    return content_of({**dict(content or ()), **row})
