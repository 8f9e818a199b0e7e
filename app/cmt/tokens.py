"""Access tokens of Marketing Cloud (vendor page "Server-to-Server Integrations with Client Credentials Grant Type").

The life of a token: it is requested when it is first needed, and used while it is fresh. It is replaced in the
background some time before it expires, so that no caller waits, and at once when a call was refused with it. However
many callers need a new token, only one request is made, and a caller that stops waiting does not cancel it. Tokens are
opaque: they need not be JWTs (real ones have four parts and no expiry inside).
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.cmt.errors import CallError, CallFailed, told
from app.cmt.token_answer import Token, read_token, token_failed, token_url
from app.delivery import errors as registry
from app.http.answer import Answer, FailureKind, TransportFailed
from app.settings import CmtSettings

# Wrong credentials stay wrong, so the wait before the next request doubles, from the first to the longest.
REFUSED_SECONDS_FIRST, REFUSED_SECONDS_MOST = 1.0, 60.0
# The wait if the endpoint throttles without saying for how long.
THROTTLED_SECONDS = 5.0
# An early replacement that failed is tried again after this long; no caller waits for it.
EARLY_AGAIN_SECONDS = 5.0
# A caller that is too early by at most this waits instead of failing: adjusted clocks differ by milliseconds.
TOO_EARLY_SECONDS = 0.05
# How often a request that got no usable answer is repeated at once. That is safe, because it changes nothing.
REPEATS = 2
REPEAT_SECONDS = 0.2

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer]]


class TokenClient:
    """The token of one account.

    Args:
        settings: address and credentials.
        post: sends a request: ``HttpTransport.post``.
        on_refresh: told "ok" or the registry code after every request for a token.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: CmtSettings,
        post: Post,
        *,
        on_refresh: Callable[[str], None] = lambda result: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._post = post
        self._on_refresh = on_refresh
        self._clock = clock
        self._sleep = sleep
        self._url = token_url(settings.auth_url)
        self._token: Token | None = None
        self._refreshing: asyncio.Task[Token] | None = None
        self._refused = 0  # refusals of our credentials or our account in a row
        self._held_until = float("-inf")
        self._held_error: CallError | None = None
        self._early_after = float("-inf")  # no early request before this: the old token is still good
        self._unproven = 0  # tokens in a row that were refused without ever having been accepted
        self._unproven_until = float("-inf")

    async def get(self) -> Token:
        """A token that is good now.

        Raises:
            CallFailed: the request for one failed.
        """
        token, now = self._token, self._clock()
        if token is not None and now < token.expires_at:
            if now >= token.refresh_at and now >= self._early_after:
                self._refresh()
            return token
        return await asyncio.shield(self._refresh())

    def accepted(self, token: Token) -> None:
        """A call with this token was not refused."""
        if not token.accepted:
            token.accepted = True
            self._unproven = 0

    def invalidate(self, token: Token) -> None:
        """A call with exactly this token was refused: the next ``get`` returns another one.

        This does nothing if the token has been replaced meanwhile. It also does nothing for a while if new tokens are
        refused again and again: then their age is not the cause, and more requests would not help.
        """
        if token is not self._token:
            return
        if not token.accepted:
            if self._clock() < self._unproven_until:
                return
            self._unproven_until = self._clock() + _doubling(self._unproven)
            self._unproven += 1
        self._token = None

    async def close(self) -> None:
        """Cancel a request that is in flight."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    def _refresh(self) -> asyncio.Task[Token]:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._request(), name="token refresh")
            # Mark the error as seen: a waiting caller gets it, and after an early refresh the next call asks again.
            self._refreshing.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._refreshing

    async def _request(self) -> Token:
        if self._held_error is not None and (wait := self._held_until - self._clock()) > 0:
            if wait > TOO_EARLY_SECONDS:
                message = f"{self._held_error.message} Not asked again yet."
                raise CallFailed(CallError(self._held_error.code, message, retry_after=wait))
            await self._sleep(wait)
        try:
            token = await self._ask()
        except CallFailed as failure:
            self._hold(failure.error)
            self._on_refresh(failure.error.code)
            raise
        self._refused, self._held_error = 0, None
        self._token = token
        self._on_refresh("ok")
        return token

    def _hold(self, error: CallError) -> None:
        """Set how long no request is made after a failure."""
        if error.code in (registry.CMT_TOKEN_REFUSED.code, registry.CMT_BLOCKED.code):
            wait = error.retry_after or _doubling(self._refused)
            self._refused += 1
        elif error.code == registry.CMT_TOKEN_THROTTLED.code:
            wait = error.retry_after if error.retry_after is not None else THROTTLED_SECONDS
        else:
            wait = error.retry_after or 0.0
        self._held_until, self._held_error = self._clock() + wait, error
        self._early_after = self._clock() + max(wait, EARLY_AGAIN_SECONDS)

    async def _ask(self) -> Token:
        body = json.dumps(self._credentials()).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        for repeat in range(REPEATS + 1):
            last = repeat == REPEATS
            asked_at = self._clock()
            try:
                answer = await self._post(self._url, body, headers)
            except TransportFailed as failure:
                if last or failure.kind is FailureKind.TIMEOUT:
                    raise token_failed(registry.CMT_TOKEN_UNAVAILABLE, f"{told(failure)}.") from None
            else:
                if answer.status < 500 or answer.retry_after is not None or last:
                    return read_token(answer, asked_at, self._settings.soap_url)
            await self._sleep(random.uniform(0, REPEAT_SECONDS))  # noqa: S311 - spreads load, guards nothing
        raise AssertionError("unreachable: the last round returns or raises")

    def _credentials(self) -> dict[str, Any]:
        settings = self._settings
        credentials: dict[str, Any] = {
            "grant_type": "client_credentials",
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.get_secret_value(),
        }
        if settings.account_id is not None:
            numeric = settings.account_id.isascii() and settings.account_id.isdigit()
            credentials["account_id"] = int(settings.account_id) if numeric else settings.account_id
        return credentials


def _doubling(times_before: int) -> float:
    return min(REFUSED_SECONDS_FIRST * 2.0 ** min(times_before, 16), REFUSED_SECONDS_MOST)
