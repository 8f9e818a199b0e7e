"""The accounts of Marketing Cloud that profiles go to, and which of them a market belongs to.

An account (a business unit) has a token, connections, a rate, a limit of calls under way and a circuit breaker of its
own: what goes wrong with one leaves the others alone. Markets of one account share all that, also when their data
extensions differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from app.cmt.client import CmtClient
from app.domain.entities import OWN_ACCOUNT, Catalog, EntityType
from app.domain.errors import EVENT_MARKET_UNKNOWN
from app.domain.event import ProfileEvent, unknown_market
from app.domain.outcome import Attempt, Failure, Phase, RecordCount
from app.engine.breaker import Breaker
from app.flows.outage import TargetHealth
from app.observe.metrics import Metrics
from app.settings import CmtSettings, SyncSettings
from app.sinks import Permit, Sink
from app.sinks.cmt import CmtSink


@dataclass(frozen=True, slots=True)
class Account:
    """One account: what it is called, who talks to it, and how it is."""

    name: str
    client: CmtClient
    breaker: Breaker
    health: TargetHealth


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the events of a market go."""

    account: Account
    sink: Sink


class Accounts:
    """All accounts that a catalog names, as one sink. Use as an async context manager.

    Raises:
        ConfigurationError: a client or its sink cannot be made of the settings.
    """

    def __init__(self, cmt: CmtSettings, sync: SyncSettings, catalog: Catalog, metrics: Metrics) -> None:
        self._cmt, self._sync, self._metrics = cmt, sync, metrics
        self._accounts: dict[str, Account] = {}
        self._known: list[tuple[Catalog, str, _Way]] = []
        self._all = None if catalog.markets is not None else self._way(catalog)
        self._markets = {market: self._way(tables) for market, tables in (catalog.markets or {}).items()}
        self._others = None if catalog.other_markets is None else self._way(catalog.other_markets)
        # Nothing is sent for an event without a way, so it does not matter whose breaker it passes.
        self._no_way = next(iter(self._accounts))
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for account in self._accounts.values():
            await self._open.enter_async_context(account.client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The breaker of every account, by its name."""
        return {name: account.breaker for name, account in self._accounts.items()}

    @property
    def calls_allowed(self) -> float:
        """How many calls may be under way now, all accounts together."""
        return sum(account.client.calls_allowed for account in self._accounts.values())

    def account_of(self, market: str) -> str:
        """The name of the account that a market belongs to; of any for a market that is not known."""
        way = self._way_of(market)
        return self._no_way if way is None else way.account.name

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """Run an event once in the account of its market; see ``Sink.apply``."""
        way = self._way_of(event.market)
        if way is None:
            failure = Failure(
                EVENT_MARKET_UNKNOWN.code, unknown_market(event.market), EntityType.CONSUMER, Phase.BEFORE_PARENT
            )
            return Attempt((failure,), (RecordCount(EntityType.CONSUMER, 0, 1),))
        return await way.sink.apply(event, last_attempt=last_attempt, permit=permit)

    def _way_of(self, market: str) -> _Way | None:
        return self._all or self._markets.get(market, self._others)

    def _way(self, tables: Catalog) -> _Way:
        name = tables.account_id or self._cmt.account_id or OWN_ACCOUNT
        for known, account_name, way in self._known:
            if account_name == name and known.data_extensions == tables.data_extensions:
                return way
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = self._account(name, tables)
            client = account.client
        else:
            client = account.client.for_catalog(tables)
        way = _Way(account, CmtSink(client, tables, self._sync, self._cmt.batch_size))
        self._known.append((tables, name, way))
        return way

    def _account(self, name: str, tables: Catalog) -> Account:
        breaker = Breaker(self._sync.breaker_failures, self._sync.breaker_probe_seconds)
        health = TargetHealth(breaker, self._metrics)
        settings = self._cmt if tables.account_id is None else self._cmt.for_account(tables.account_id)
        client = CmtClient(settings, tables, concurrency=self._sync.concurrency, observe=health)
        return Account(name, client, breaker, health)
