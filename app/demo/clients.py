"""HTTP clients of the demo, for the simulator and the workers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import aiohttp

# All programs run on this machine. A worker that does not answer within this time is busy or gone, and is asked again.
TIMEOUT_SECONDS = 5.0
# For tens of thousands of rows on a busy machine.
ROWS_TIMEOUT_SECONDS = 60.0

_OPEN_BREAKER = re.compile(r"^profile_sync_breaker_open\{[^}]*\} 1(\.0)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Totals:
    """Events by outcome, their sum and the parked ones; the field names are those of ``/api/kpi/totals``."""

    complete: bool = False
    synced: int = 0
    partial: int = 0
    failed: int = 0
    invalid: int = 0
    superseded: int = 0
    discarded: int = 0
    events: int = 0
    parked: int = 0

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Totals:
        """The totals in the API's answer. Unknown fields are ignored."""
        return cls(**{field.name: document[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class SimulatorStats:
    """The numbers of SOAP calls since the start and of incidents."""

    calls: int = 0
    incidents: int = 0


@dataclass(frozen=True, slots=True)
class OpenLetters:
    """The number of open dead letters, and the ID of one; "": none is open."""

    open: int
    example: str


def announced_environment(log: str) -> dict[str, str]:
    """The environment that the simulator announces for its clients; empty until its log holds the whole line.

    >>> announced_environment("a warning\\nSimulator on ... Use it with: CMT_AUTH_URL=http://[::1]:1 A='b c'\\n")
    {'CMT_AUTH_URL': 'http://[::1]:1', 'A': 'b c'}
    >>> announced_environment("Simulator on ... Use it with: CMT_AUTH_URL=http://[:")
    {}
    """
    whole_lines, _, _ = log.rpartition("\n")
    for line in whole_lines.splitlines():
        _, announced, assignments = line.partition("Use it with: ")
        if announced:
            named = (assignment.partition("=") for assignment in shlex.split(assignments))
            return {name: value for name, _, value in named}
    return {}


class SimulatorClient:
    """A client for the simulator's test side. All methods may raise ``aiohttp.ClientError`` or ``TimeoutError``."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def inject(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Add fault rules, in this order."""
        for rule in rules:
            async with self._session.post(f"{self.url}/_sim/faults", json=rule, raise_for_status=True):
                pass

    async def replace_faults(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Replace all fault rules by these, in this order."""
        async with self._session.delete(f"{self.url}/_sim/faults", raise_for_status=True):
            pass
        await self.inject(rules)

    async def incidents(self) -> list[dict[str, Any]]:
        """All incidents, with their fields and ``work_notes``, oldest first."""
        async with self._session.get(f"{self.url}/_sim/incidents", raise_for_status=True) as answer:
            document = await answer.json()
        incidents: list[dict[str, Any]] = document["incidents"]
        return incidents

    async def calls(self, consumer_id: str) -> list[dict[str, Any]]:
        """The calls about a consumer that the simulator remembers, with their rows, in the order of their effect."""
        parameters = {"consumer": consumer_id, "rows": "true"}
        async with self._session.get(f"{self.url}/_sim/calls", params=parameters, raise_for_status=True) as answer:
            document = await answer.json()
        calls: list[dict[str, Any]] = document["calls"]
        return calls

    async def stats(self) -> SimulatorStats:
        """The simulator's statistics."""
        async with self._session.get(f"{self.url}/_sim/stats", raise_for_status=True) as answer:
            document = await answer.json()
        return SimulatorStats(document["calls"], document["incidents"])

    async def rows(self, customer_key: str) -> list[dict[str, str | None]]:
        """All rows of a data extension."""
        patience = aiohttp.ClientTimeout(total=ROWS_TIMEOUT_SECONDS)
        url = f"{self.url}/_sim/rows/{customer_key}"
        async with self._session.get(url, timeout=patience, raise_for_status=True) as answer:
            document = await answer.json()
        rows: list[dict[str, str | None]] = document["rows"]
        return rows


class WorkerClient:
    """A client for the API of one worker. Methods return None if the worker does not answer."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def ready(self) -> bool:
        """Whether the worker has taken over its partitions."""
        try:
            async with self._session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def breaker_open(self) -> bool | None:
        """Whether the worker's circuit breaker is open."""
        try:
            async with self._session.get(f"{self.url}/metrics", raise_for_status=True) as answer:
                return _OPEN_BREAKER.search(await answer.text()) is not None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def totals(self) -> Totals | None:
        """The counts of the whole cluster."""
        document = await self._document("/api/kpi/totals")
        return None if document is None else Totals.of(document)

    async def dead_letters(self) -> OpenLetters | None:
        """The open dead letters of the whole cluster; None also while the worker is reading them in."""
        document = await self._document("/api/dead-letters/groups")
        if document is None or not document["complete"]:
            return None
        groups = document["items"]
        return OpenLetters(sum(group["open"] for group in groups), groups[0]["example"] if groups else "")

    async def tasks(self) -> list[dict[str, Any]] | None:
        """Operators' tasks, newest first."""
        document = await self._document("/api/tasks")
        return None if document is None else document["items"]

    async def _document(self, path: str) -> dict[str, Any] | None:
        try:
            async with self._session.get(f"{self.url}{path}", raise_for_status=True) as answer:
                document: dict[str, Any] = await answer.json()
                return document
        except (aiohttp.ClientError, TimeoutError):
            return None
