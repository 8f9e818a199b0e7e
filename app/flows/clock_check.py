"""``check`` of this machine's clock, against the Date that servers put into their answers.

A broker does not tell its time. Any answer will do, so a plain GET without credentials is sent; it is usually refused.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from app import __version__
from app.delivery.clock_skew import clock_line
from app.delivery.installation import CheckLine, Part, not_checked

ANSWER_SECONDS = 15.0


async def clock_lines(addresses: Sequence[str], ca_file: Path | None = None) -> list[CheckLine]:
    """One line for each server. ``ca_file``: certificates to trust in addition to the system's."""
    if not addresses:
        return [not_checked(Part.CLOCK, "no server to compare it with")]
    by_server = {urlsplit(address).netloc: address for address in addresses}
    return list(await asyncio.gather(*(_line(server, address, ca_file) for server, address in by_server.items())))


async def _line(server: str, address: str, ca_file: Path | None) -> CheckLine:
    # Plain http is allowed to this machine only, so it must not go through a proxy.
    proxied = urlsplit(address).scheme == "https"
    headers = {"User-Agent": f"profile-sync/{__version__}", "Cache-Control": "no-cache"}
    try:
        tls = ssl.create_default_context()
        if ca_file is not None:
            tls.load_verify_locations(ca_file)
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                connector=aiohttp.TCPConnector(ssl=tls),
                trust_env=proxied,
                headers=headers,
            ) as session,
            asyncio.timeout(ANSWER_SECONDS),
        ):
            asked_at = time.time()
            async with session.get(address, allow_redirects=False) as answer:
                return clock_line(server, asked_at, time.time(), answer.headers.get("Date"))
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        # Only the type: the error's text may hold the proxy's credentials.
        return not_checked(Part.CLOCK, f"no answer of {server} ({type(error).__name__})")
