"""Clients of Marketing Cloud for commands: one for each account, with the data extensions of each market."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from app.cmt.accounts import AccountClients
from app.cmt.client import CmtClient
from app.cmt.errors import CallFailed
from app.delivery.errors import REGISTRY
from app.profile.entities import OWN_ACCOUNT, Catalog
from app.settings import CmtSettings

# After this many failures in a row, an account gets no more calls.
FAILURES_MOST = 10


class AccountUnavailable(Exception):
    """An account cannot be asked anything; the message says why and what to do."""


@dataclass(slots=True)
class AskedAccount:
    """One account as a command uses it, and whether it answers."""

    name: str
    client: CmtClient
    _down: str | None = None
    _has_token: bool = False
    _failures: int = 0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def reached(self) -> bool:
        """Whether it has given a token."""
        return self._has_token

    async def ready(self) -> None:
        """Return when the account has given a token; it is asked only once.

        Raises:
            AccountUnavailable: it gave none, or has failed too often since.
        """
        async with self._asking:
            if self._down is None and not self._has_token:
                try:
                    await self.client.token()
                    self._has_token = True
                except CallFailed as failed:
                    self._down = self._says(failed)
        if self._down is not None:
            raise AccountUnavailable(self._down)

    def answered(self) -> None:
        """All is well."""
        self._failures = 0

    def failed(self, failure: CallFailed) -> None:
        """A call failed. It counts only if the failure concerns the account as a whole."""
        entry = REGISTRY[failure.error.code]
        if entry.transport or entry.doubtful:
            self._failures += 1
            if self._failures >= FAILURES_MOST:
                self._down = f"{self._says(failure)} No more calls after {self._failures} failures in a row."

    def _says(self, failure: CallFailed) -> str:
        which = "" if self.name == OWN_ACCOUNT else f" (account {self.name})"
        return f"Marketing Cloud{which} cannot be used: {failure} {REGISTRY[failure.error.code].remedy}"


@dataclass(frozen=True, slots=True)
class AskedMarket:
    """Where the rows of a market are: the account, the client for its data extensions, and these."""

    account: AskedAccount
    client: CmtClient
    tables: Catalog


class MarketClients:
    """The account and the client of each market. Use as a context manager.

    Raises:
        ConfigurationError: a client cannot be made of the settings.
    """

    def __init__(self, cmt: CmtSettings, catalog: Catalog, *, concurrency: int) -> None:
        self._clients = AccountClients(cmt, catalog, concurrency=concurrency)
        self._accounts = {name: AskedAccount(name, client) for name, client in self._clients.by_account.items()}

    async def __aenter__(self) -> Self:
        await self._clients.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._clients.__aexit__(kind, error, trace)

    async def learn_types(self) -> None:
        """Learn the types of columns from every account. Without types, values are compared less exactly."""
        for name, account in self._accounts.items():
            try:
                await account.ready()
                await self._clients.learn_types(name)
            except (AccountUnavailable, CallFailed):
                continue  # reported when the account is needed

    @property
    def one_account(self) -> bool:
        """Whether there is one account for all markets."""
        return len(self._accounts) == 1

    def of(self, market: str) -> AskedMarket | None:
        """None: the market is not known here."""
        found = self._clients.of(market)
        return None if found is None else AskedMarket(self._accounts[found.account], found.client, found.tables)
