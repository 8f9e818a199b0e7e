"""The accounts of Marketing Cloud that profiles go to, and which of them a market belongs to.

Each account (a business unit) has its own token, connections, rate, limit of calls in flight and circuit breaker, so
that trouble with one does not affect the others. Markets of one account share all of these, even if their data
extensions differ.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import structlog

from app.cmt.accounts import AccountClients, MarketClient
from app.cmt.canary import gets_through
from app.cmt.client import CmtClient
from app.cmt.errors import CallError, CallFailed
from app.delivery.errors import EVENT_MARKET_UNKNOWN, ErrorClass, lookup
from app.delivery.outcome import Attempt, Failure, Phase, RecordCount
from app.engine.breaker import Breaker
from app.flows.destination import Destination
from app.flows.target_health import TargetHealth
from app.observe.metrics import Metrics
from app.profile.entities import Catalog, EntityType
from app.profile.event import ProfileEvent
from app.profile.event_reader import unknown_market
from app.settings import CmtSettings, SyncSettings
from app.sinks import Permit, Sink
from app.sinks.cmt import CmtSink

log = structlog.get_logger(__name__)

# Between two tries to learn the types of columns; it doubles up to the maximum.
LEARN_AGAIN_SECONDS = 30.0
LEARN_AGAIN_MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Account:
    """One account: its name, its client, its breaker and its health."""

    name: str
    client: CmtClient
    breaker: Breaker
    health: TargetHealth

    @property
    def is_throttled(self) -> bool:
        """Whether calls wait because of throttling, or were throttled a moment ago."""
        return self.health.throttled_since is not None


class Accounts:
    """All accounts that a catalog names. Use as an async context manager.

    Args:
        sink: takes all events instead of Marketing Cloud.

    Raises:
        ConfigurationError: a client or its sink cannot be made of the settings.
    """

    def __init__(
        self, cmt: CmtSettings, sync: SyncSettings, catalog: Catalog, metrics: Metrics, sink: Sink | None = None
    ) -> None:
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

        # Without a breaker, throttled calls use up attempts too.
        patience = sync.breaker_alert_seconds if sync.breaker_failures else None
        self._clients = AccountClients(cmt, catalog, concurrency=sync.concurrency, observe=observe, patience=patience)
        self._markets = self._clients.by_market
        self._accounts = {
            name: Account(name, client, breakers[name], health[name])
            for name, client in self._clients.by_account.items()
        }
        # One sink for each client: the parent rows that it remembers belong to its data extensions.
        self._sinks = {m.client: CmtSink(m.client, m.tables, sync, cmt.batch_size) for m in self._markets.values()}
        self._destinations = {
            market: Destination(one.account, sink or self._sinks[one.client], one.tables)
            for market, one in self._markets.items()
        }
        # Nothing is sent for an event of an unknown market, so any breaker will do.
        self._nowhere = Destination(next(iter(self._accounts)), _Nowhere(), catalog)
        self._learning: list[asyncio.Task[None]] = []
        self._warnings: dict[str, tuple[str, ...]] = {}

    def home(self, market: str) -> MarketClient | None:
        """The client and the data extensions of a market; None: the market is not known."""
        return self._clients.of(market)

    async def _gets_through(self, account: str) -> bool:
        return await gets_through(self._accounts[account].client)

    async def __aenter__(self) -> Self:
        await self._clients.__aenter__()
        for name in self._accounts:
            self._learning.append(asyncio.create_task(self._learn_types(name), name=f"types of columns of {name}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._learning:
            task.cancel()
        if self._learning:
            await asyncio.wait(self._learning)
        self._learning.clear()
        await self._clients.__aexit__(kind, error, trace)

    async def _learn_types(self, account: str) -> None:
        """Ask for the columns until they are known. Nothing else waits for this."""
        wait, before = LEARN_AGAIN_SECONDS, ""
        while True:
            try:
                found = await self._clients.learn_types(account)
                break
            except CallFailed as failed:
                if failed.error.code != before:
                    say_not_learned(account, failed.error)
                before = failed.error.code
            await asyncio.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - spreads load, guards nothing
            wait = min(2 * wait, LEARN_AGAIN_MOST_SECONDS)
        for market, one in self._markets.items():
            if one.account == account:
                self._sinks[one.client].learned(one.tables)
                self._destinations[market].learned(one.tables)
        self._warnings[account] = tuple(found)
        for warning in found:
            log.warning("a data extension is not as it is configured", account=account, problem=warning)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Differences between the data extensions and the configuration, one line each; empty until they are known."""
        named = len(self._accounts) > 1
        return tuple(
            f"account {account}: {line}" if named else line
            for account, lines in self._warnings.items()
            for line in lines
        )

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    @property
    def breakers(self) -> Mapping[str, Breaker]:
        """The breaker of every account, by its name."""
        return {name: account.breaker for name, account in self._accounts.items()}

    @property
    def calls_allowed(self) -> Mapping[str, float]:
        """How many calls may be in flight in each account at present."""
        return {name: account.client.calls_allowed for name, account in self._accounts.items()}

    def of(self, market: str) -> Destination:
        """See ``Destinations.of``."""
        return self._destinations.get(market) or self._destinations.get(None) or self._nowhere


class _Nowhere:
    """The sink of a market that is not known."""

    async def apply(self, event: ProfileEvent, *, last_attempt: bool, permit: Permit) -> Attempt:
        """Fail: there is no place to write to."""
        failure = Failure(
            EVENT_MARKET_UNKNOWN.code, unknown_market(event.market), EntityType.CONSUMER, Phase.BEFORE_PARENT
        )
        return Attempt((failure,), (RecordCount(EntityType.CONSUMER, 0, 1),))


def say_not_learned(account: str, error: CallError) -> None:
    """Log that the first call to an account failed; as an error if the account refuses us."""
    entry = lookup(error.code)
    if entry.error_class is ErrorClass.AUTH:
        log.error(
            "Marketing Cloud refuses us: nothing can be written until this is corrected",
            account=account,
            reason=error.code,
            detail=error.message,
            do=entry.remedy,
        )
    else:
        log.info("types of columns are not known yet, asking again", account=account, reason=error.code)
