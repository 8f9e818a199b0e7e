"""Where the events of a market go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from app.profile.entities import Catalog
from app.profile.holdings.row_digests import Digests
from app.sinks import Sink


@dataclass(slots=True)
class Destination:
    """A market's account, the sink that writes to it, and the market's data extensions.

    ``tables``: as they are configured. ``typed``, ``digests``: with the types of columns, as soon as they are learned.
    """

    account: str
    sink: Sink
    tables: Catalog
    typed: Catalog = field(init=False)
    digests: Digests = field(init=False)

    def __post_init__(self) -> None:
        self.learned(self.tables)

    def learned(self, typed: Catalog) -> None:
        """The same data extensions, with the types of their columns."""
        self.typed, self.digests = typed, Digests(typed)


class Destinations(Protocol):
    """Knows the destination of every market."""

    def of(self, market: str) -> Destination:
        """The destination of a market. An unknown market has one too; its sink fails every event."""
