"""The call that the measured programs make for an event, made with aiohttp, and how long such a program runs."""

from __future__ import annotations

import asyncio
import os
import signal
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

IN_FLIGHT = 64
# About as long as a SOAP request that writes one row.
BODY = b"<Envelope>" + b"x" * 1400 + b"</Envelope>"
HEADERS = {"Content-Type": "text/xml; charset=utf-8"}


class StaticPost:
    """POSTs the static body to ``BENCH_TARGET``; use as an async context manager."""

    def __init__(self) -> None:
        self._url = URL(os.environ["BENCH_TARGET"])

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def __call__(self) -> None:
        """One call, answered.

        Raises:
            aiohttp.ClientError: it was not answered with 200.
        """
        async with self._session.post(self._url, data=BODY, headers=HEADERS) as answer:
            await answer.read()
            answer.raise_for_status()


async def until_terminated() -> None:
    """Return when SIGTERM or SIGINT arrives."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
