"""One client for each account that a catalog names, with the data extensions of each market.

An account (a business unit) has a token, connections, a rate and a limit of calls in flight of its own. Markets of one
account share all of these, even if their data extensions differ.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from app.cmt.client import CmtClient
from app.cmt.errors import CallFailed
from app.cmt.observer import CallObserver
from app.profile.catalog_check import Difference, differences, learned_types
from app.profile.column_types import ColumnTypes, Field
from app.profile.entities import CONSUMER_ID_COLUMN, OWN_ACCOUNT, Catalog, EntityType
from app.settings import CmtSettings


@dataclass(slots=True)
class MarketClient:
    """A market's account, its data extensions, and the client that calls them.

    ``name``: the market; None: all markets that are not listed. ``tables`` gets the types of columns once they are
    known.
    """

    name: str | None
    account: str
    client: CmtClient
    tables: Catalog


@dataclass(frozen=True, slots=True)
class DescribedTable:
    """A data extension of a market as Marketing Cloud describes it.

    ``failed``: why its columns could not be read; then ``fields`` and ``differences`` say nothing.
    """

    market: MarketClient
    entity: EntityType
    fields: Sequence[Field] = ()
    differences: Sequence[Difference] = ()
    failed: CallFailed | None = None


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
            self._by_market[market] = MarketClient(market, name, client, tables)
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

    async def described(self, account: str) -> AsyncGenerator[DescribedTable]:
        """Ask an account for the columns of all its data extensions, market by market; each is asked about once."""
        asked: dict[tuple[str, str | None], Sequence[Field] | CallFailed] = {}
        for market in self._by_market.values():
            if market.account != account:
                continue
            consumer_id_length: int | None = None
            for entity in EntityType:
                table = market.tables[entity]
                where = (table.customer_key, table.shared_from)
                if where not in asked:
                    try:
                        asked[where] = await market.client.fields(entity)
                    except CallFailed as failed:
                        asked[where] = failed
                found = asked[where]
                if isinstance(found, CallFailed):
                    yield DescribedTable(market, entity, failed=found)
                    continue
                yield DescribedTable(market, entity, found, tuple(differences(table, found, consumer_id_length)))
                if entity.is_parent and (kind := learned_types(table, found).get(CONSUMER_ID_COLUMN)) is not None:
                    consumer_id_length = kind.length

    async def learn_types(self, account: str) -> list[str]:
        """Ask an account for the columns of its data extensions, and put their types into ``tables``.

        Returns:
            The differences from the configuration, one line each.

        Raises:
            CallFailed: the columns could not be read; nothing has changed.
        """
        learned: dict[str | None, dict[EntityType, ColumnTypes]] = {}
        warnings: dict[str, None] = {}
        async with aclosing(self.described(account)) as described:
            async for one in described:
                if one.failed is not None:
                    raise one.failed
                types = learned.setdefault(one.market.name, {})
                types[one.entity] = learned_types(one.market.tables[one.entity], one.fields)
                warnings |= dict.fromkeys(map(str, one.differences))
        for name, types in learned.items():
            market = self._by_market[name]
            market.tables = market.tables.typed(types)
        return list(warnings)


def _alike(one: Catalog, other: Catalog) -> bool:
    return one.data_extensions == other.data_extensions
