"""Destinations that all lead to one sink."""

from __future__ import annotations

from collections.abc import Callable

from app.flows.destination import Destination
from app.profile.entities import OWN_ACCOUNT, Catalog
from app.sinks import Sink


class to:  # noqa: N801 - read as a preposition
    """``to(sink, catalog)``: every market's account is called ``account(market)``."""

    def __init__(self, sink: Sink, catalog: Catalog, account: Callable[[str], str] = lambda _: OWN_ACCOUNT) -> None:
        self._sink = sink
        self._catalog = catalog
        self._account = account

    def of(self, market: str) -> Destination:
        return Destination(self._account(market), self._sink, self._catalog.of_market(market) or self._catalog)
