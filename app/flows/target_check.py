"""``check`` of Marketing Cloud: a token for each account, and its data extensions. It only reads."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from urllib.parse import urlsplit

from app.cmt.accounts import AccountClients, DescribedTable
from app.cmt.canary import PROBE_CONSUMER_ID
from app.cmt.errors import CallFailed
from app.delivery.errors import ErrorClass, lookup
from app.delivery.installation import CheckLine, Part, PartState, not_checked
from app.profile.entities import Catalog
from app.settings import CmtSettings

# A call that takes longer is reported. Most answers take less than a second.
CALL_SECONDS = 15.0
# One call after the other in each account.
_CONCURRENCY = 1


async def target_lines(cmt: CmtSettings, catalog: Catalog) -> list[CheckLine]:
    """The lines of every account: its token, then each of its data extensions.

    Raises:
        ConfigurationError: no client can be made from the settings.
    """
    bounded = cmt.model_copy(update={"timeout_seconds": min(cmt.timeout_seconds, CALL_SECONDS)})
    async with AccountClients(bounded, catalog, concurrency=_CONCURRENCY) as clients:
        found = await asyncio.gather(*(_AccountCheck(clients, name).lines() for name in clients.by_account))
    return [line for lines in found for line in lines]


class _AccountCheck:
    """Looks at one account."""

    def __init__(self, clients: AccountClients, account: str) -> None:
        self._clients = clients
        self._account = account
        # Named only if there are several.
        self._named = account if len(clients.by_account) > 1 else ""
        # The lines by data extension; markets may share one, and each may find something else wrong with it.
        self._lines: dict[str, dict[CheckLine, None]] = {}

    async def lines(self) -> list[CheckLine]:
        """The token's line and those of the data extensions."""
        client = self._clients.by_account[self._account]
        try:
            token = await client.token()
        except CallFailed as failed:
            found = [self._failed(Part.TOKEN, "", failed)]
            why = "no token"
        else:
            minutes = (token.expires_at - time.monotonic()) / 60
            message = f"valid for {minutes:.0f} min, for calls to {urlsplit(token.soap_url).hostname}"
            found = [CheckLine(Part.TOKEN, PartState.OK, message, account=self._named)]
            why = await self._look_at_tables()
        for table in self._tables():
            lines = list(self._lines.get(table, ()))
            # As one market has configured it, it may be fine, and as another one has, it may not.
            not_fine = [line for line in lines if line.state is not PartState.OK]
            found += not_fine or lines or [self._not_checked(table, why)]
        return found

    def _tables(self) -> list[str]:
        """The data extensions of the account, each once."""
        markets = [market for market in self._clients.by_market.values() if market.account == self._account]
        keys = (table.customer_key for market in markets for table in market.tables.data_extensions.values())
        return list(dict.fromkeys(keys))

    async def _look_at_tables(self) -> str:
        """Look at the data extensions, until a failure shows that no call gets through; returns which one."""
        async with aclosing(self._clients.described(self._account)) as described:
            async for one in described:
                failed = one.failed
                try:
                    if failed is None:
                        await self._look_at(one)
                except CallFailed as unread:
                    failed = unread
                if failed is not None:
                    table = one.market.tables[one.entity].customer_key
                    self._add(self._failed(Part.DATA_EXTENSION, table, failed))
                    if _meets_every_call(failed):
                        return f"a call failed before with {failed.error.code}"
        return ""

    async def _look_at(self, one: DescribedTable) -> None:
        table = one.market.tables[one.entity].customer_key
        for difference in one.differences:
            state = PartState.NOTE if difference.harmless else PartState.WRONG
            text = difference.text.removeprefix(table).removeprefix(":").lstrip()
            self._add(CheckLine(Part.DATA_EXTENSION, state, text, difference.remedy, table, self._named))
        if all(difference.harmless for difference in one.differences):
            # Columns may be visible although rows are not.
            await one.market.client.retrieve(one.entity, PROBE_CONSUMER_ID)
            if not one.differences:
                columns = f"{len(one.fields)} columns, as configured"
                self._add(CheckLine(Part.DATA_EXTENSION, PartState.OK, columns, subject=table, account=self._named))

    def _add(self, line: CheckLine) -> None:
        self._lines.setdefault(line.subject, {})[line] = None

    def _not_checked(self, table: str, why: str) -> CheckLine:
        return not_checked(Part.DATA_EXTENSION, why, subject=table, account=self._named)

    def _failed(self, part: Part, subject: str, failed: CallFailed) -> CheckLine:
        remedy = lookup(failed.error.code).remedy
        return CheckLine(part, PartState.WRONG, str(failed), remedy, subject, self._named)


def _meets_every_call(failed: CallFailed) -> bool:
    """Whether further calls to the account would probably fail too."""
    entry = lookup(failed.error.code)
    return entry.transport or entry.doubtful or entry.error_class in (ErrorClass.AUTH, ErrorClass.THROTTLED)
