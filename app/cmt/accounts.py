"""One client for each account that a catalog names, with the data extensions of each market.

An account (a business unit) has a token, connections, a rate and a limit of calls in flight of its own. Markets of one
account share all of these, even if their data extensions differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from app.cmt.client import CmtClient
from app.cmt.observer import CallObserver
from app.profile.catalog_check import learned_types, mismatches
from app.profile.column_types import ColumnTypes, Field
from app.profile.entities import CONSUMER_ID_COLUMN, OWN_ACCOUNT, Catalog, EntityType
from app.settings import CmtSettings


@dataclass(slots=True)
class MarketClient:
    """A market's account, its data extensions, and the client that calls them.

    ``tables`` gets the types of columns once they are known.
    """

    account: str
    client: CmtClient
    tables: Catalog


class AccountClients:
    """The clients of all accounts. Use as an async context manager.

    Args:
        observe: gives the observer of an account's calls, by the account's name.
        patience: see ``CmtClient``.

    Raises:
        ConfigurationError: no client can be made from the settings.
    """

    def __init__(
        self,
        cmt: CmtSettings,
        catalog: Catalog,
        *,
        concurrency: int,
        observe: Callable[[str], CallObserver | None] = lambda _account: None,
        patience: float | None = None,
    ) -> None:
        self._clients: dict[str, CmtClient] = {}
        self._by_market: dict[str | None, MarketClient] = {}  # None: all markets that are not listed
        for market, tables in catalog.by_market():
            name = tables.account_id or cmt.account_id or OWN_ACCOUNT
            known = self._by_market.values()
            alike = next((one for one in known if one.account == name and _alike(one.tables, tables)), None)
            if alike is not None:
                client = alike.client
            elif name in self._clients:
                client = self._clients[name].for_catalog(tables)
            else:
                settings = cmt if tables.account_id is None else cmt.for_account(tables.account_id)
                client = CmtClient(settings, tables, concurrency=concurrency, observe=observe(name), patience=patience)
                self._clients[name] = client
            self._by_market[market] = MarketClient(name, client, tables)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for client in self._clients.values():
            await self._open.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @property
    def by_account(self) -> dict[str, CmtClient]:
        """The client of each account, by its name."""
        return dict(self._clients)

    @property
    def by_market(self) -> Mapping[str | None, MarketClient]:
        """The client of each listed market; under None that of all other markets, if they are configured."""
        return self._by_market

    def of(self, market: str) -> MarketClient | None:
        """The client of a market; None: the market is not known here."""
        return self._by_market.get(market) or self._by_market.get(None)

    async def learn_types(self, account: str) -> list[str]:
        """Ask an account for the columns of its data extensions, and put their types into ``tables``.

        Returns:
            The differences from the configuration, one line each.

        Raises:
            CallFailed: the columns could not be read; nothing has changed.
        """
        learned: list[tuple[MarketClient, Catalog]] = []
        warnings: dict[str, None] = {}
        asked: dict[tuple[str, str | None], list[Field]] = {}
        for market in self._by_market.values():
            if market.account != account:
                continue
            types: dict[EntityType, ColumnTypes] = {}
            consumer_id_length: int | None = None
            for entity in EntityType:
                table = market.tables[entity]
                where = (table.customer_key, table.shared_from)
                if where not in asked:
                    asked[where] = await market.client.fields(entity)
                types[entity] = learned_types(table, asked[where])
                warnings |= dict.fromkeys(mismatches(table, asked[where], consumer_id_length))
                if entity.is_parent and (kind := types[entity].get(CONSUMER_ID_COLUMN)) is not None:
                    consumer_id_length = kind.length
            learned.append((market, market.tables.typed(types)))
        for market, tables in learned:
            market.tables = tables
        return list(warnings)


def _alike(one: Catalog, other: Catalog) -> bool:
    return one.data_extensions == other.data_extensions
