"""The accounts of Marketing Cloud that profiles go to, and which of them a market belongs to.

An account (a business unit) has a token, connections, a rate, a limit of calls under way and a circuit breaker of its
own: what goes wrong with one leaves the others alone. Markets of one account share all that, also when their data
extensions differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from app.cmt.accounts import AccountClients
from app.cmt.canary import gets_through
from app.cmt.client import CmtClient
from app.domain.entities import Catalog, EntityType
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

    @property
    def is_throttled(self) -> bool:
        """Whether calls wait, or may not be as many as usual, because it was throttled."""
        return self.breaker.throttle.waiting > 0 or self.client.is_throttled


class Accounts:
    """All accounts that a catalog names, as one sink. Use as an async context manager.

    Raises:
        ConfigurationError: a client or its sink cannot be made of the settings.
    """

    def __init__(self, cmt: CmtSettings, sync: SyncSettings, catalog: Catalog, metrics: Metrics) -> None:
        health: dict[str, TargetHealth] = {}
        breakers: dict[str, Breaker] = {}

        def observe(name: str) -> TargetHealth:
            breakers[name] = Breaker(
                sync.breaker_failures,
                sync.breaker_probe_seconds,
                most_throttled=sync.concurrency,
                check=partial(self._gets_through, name),
            )
            health[name] = TargetHealth(breakers[name], metrics, name)
            return health[name]

        # Without a breaker everything uses up attempts, as in a system that knows neither.
        patience = sync.breaker_alert_seconds if sync.breaker_failures else None
        self._clients = AccountClients(cmt, catalog, concurrency=sync.concurrency, observe=observe, patience=patience)
        self._accounts = {
            name: Account(name, client, breakers[name], health[name])
            for name, client in self._clients.by_account.items()
        }
        # One sink for each client: what it remembers of parent rows goes with the data extensions.
        sinks = {id(d.client): CmtSink(d.client, d.tables, sync, cmt.batch_size) for d in self._clients}
        self._sinks: dict[int, Sink] = dict(sinks)
        # Nothing is sent for an event of an unknown market, so it does not matter whose breaker it passes.
        self._any = next(iter(self._accounts))

    async def _gets_through(self, account: str) -> bool:
        return await gets_through(self._accounts[account].client)

    async def __aenter__(self) -> Self:
        await self._clients.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._clients.__aexit__(kind, error, trace)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The breaker of every account, by its name."""
        return {name: account.breaker for name, account in self._accounts.items()}

    @property
    def calls_allowed(self) -> Mapping[str, float]:
        """How many calls may be under way now in each account."""
        return {name: account.client.calls_allowed for name, account in self._accounts.items()}

    def account_of(self, market: str) -> str:
        """The name of the account that a market belongs to; of any for a market that is not known."""
        destination = self._clients.of(market)
        return self._any if destination is None else destination.account

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """Run an event once in the account of its market; see ``Sink.apply``."""
        destination = self._clients.of(event.market)
        if destination is None:
            failure = Failure(
                EVENT_MARKET_UNKNOWN.code, unknown_market(event.market), EntityType.CONSUMER, Phase.BEFORE_PARENT
            )
            return Attempt((failure,), (RecordCount(EntityType.CONSUMER, 0, 1),))
        sink = self._sinks[id(destination.client)]
        return await sink.apply(event, last_attempt=last_attempt, permit=permit)
