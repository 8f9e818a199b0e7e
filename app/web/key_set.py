"""The signing keys of an identity provider (RFC 7517), fetched when they are needed and kept for five minutes.

All requests that wait for keys share one fetch. After a failed fetch, requests fail at once until ``PAUSE_SECONDS``
have passed. While the provider cannot be reached, keys from an earlier fetch stay in use for at most ``STALE_SECONDS``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK

log = structlog.stdlib.get_logger(__name__)

# For the whole answer of the provider.
FETCH_SECONDS = 5.0
FRESH_SECONDS = 300.0
STALE_SECONDS = 3600.0
# Between two fetches, for any reason: neither unknown key IDs nor a provider that is away may cause a flood of fetches.
PAUSE_SECONDS = 10.0
# A provider has a handful of keys of at most 2 KiB each.
LARGEST_ANSWER_BYTES = 256 * 1024
_CHUNK_BYTES = 16 * 1024
# The algorithms of keys that are accepted.
ALGORITHMS = ("RS256", "ES256")
# What PyJWT and the library below it raise for a malformed key.
_UNLIKE_A_KEY = (
    jwt.PyJWTError,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    OverflowError,
    RecursionError,
)


class KeysUnavailable(Exception):
    """The keys for checking a token could not be fetched; the text says why."""


@dataclass(slots=True)
class _Fetched:
    keys: dict[str, PyJWK]
    at: float


class KeySet:
    """The provider's keys, by key ID.

    Args:
        url: ``WEB_JWKS_URL``.
        clock: monotonic seconds.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._fetched: _Fetched | None = None
        self._tried_at = float("-inf")
        self._problem = "not asked yet"
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> PyJWK | None:
        """The key with this ID; None if the provider has none.

        Raises:
            KeysUnavailable: the provider cannot be reached, and the known keys are too old.
        """
        known = self._known(FRESH_SECONDS)
        if known is None or key_id not in known:
            await self._refresh()
            known = self._known(STALE_SECONDS)
        if known is None:
            raise KeysUnavailable(f"{self._problem}; the token cannot be checked")
        return known.get(key_id)

    def _known(self, seconds: float) -> dict[str, PyJWK] | None:
        fetched = self._fetched
        return None if fetched is None or self._clock() - fetched.at > seconds else fetched.keys

    async def _refresh(self) -> None:
        if self._fetching is None:
            if self._clock() - self._tried_at < PAUSE_SECONDS:
                return
            self._fetching = asyncio.create_task(self._fetch(), name="fetch of the token keys")
        # A caller that is cancelled while it waits must not cancel the fetch of the others.
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            self._fetched = _Fetched(_keys(await _answer(self._url)), self._clock())
        except KeysUnavailable as error:
            self._problem = str(error)
            log.warning("the keys of the identity provider cannot be fetched", reason=self._problem)
        finally:
            self._tried_at = self._clock()
            self._fetching = None


async def _answer(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as client,
            client.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status != 200:
                raise KeysUnavailable(f"WEB_JWKS_URL answered with HTTP {answer.status}")
            body = b""
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    raise KeysUnavailable(f"WEB_JWKS_URL answered with more than {LARGEST_ANSWER_BYTES} bytes")
            return body
    except TimeoutError:
        raise KeysUnavailable(f"WEB_JWKS_URL did not answer within {FETCH_SECONDS:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise KeysUnavailable(f"WEB_JWKS_URL cannot be asked ({type(error).__name__})") from error


def _keys(body: bytes) -> dict[str, PyJWK]:
    """The signing keys of an answer, by key ID. A key that cannot be used is left out.

    Raises:
        KeysUnavailable: no key can be used.
    """
    try:
        document = json.loads(body)  # accepts a lone surrogate in one key; orjson would refuse all keys
    except (ValueError, RecursionError) as error:
        raise KeysUnavailable("WEB_JWKS_URL answered with something that is no key set") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    read = [_key(entry) for entry in entries] if isinstance(entries, list) else []
    found = dict(filter(None, read))
    if not found:
        raise KeysUnavailable("WEB_JWKS_URL answered with something that is no key set, or has no key that can be used")
    return found


def _key(entry: Any) -> tuple[str, PyJWK] | None:
    """The ID and the key of an entry; None if it is not a usable signing key."""
    key_id = entry.get("kid") if isinstance(entry, dict) else None
    if not isinstance(key_id, str) or not key_id or entry.get("use") not in ("sig", None):
        return None
    try:
        key = PyJWK(entry)
    except _UNLIKE_A_KEY:
        return None
    return (key_id, key) if key.algorithm_name in ALGORITHMS else None
