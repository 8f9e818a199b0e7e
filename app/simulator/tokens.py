"""Access tokens: issued for one client, opaque to clients, expired after `ttl` seconds or on request."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto

import orjson

# How many tokens are remembered, to tell an expired token from one that never existed.
KEPT_TOKENS = 100_000


class TokenState(Enum):
    VALID = auto()
    EXPIRED = auto()
    UNKNOWN = auto()


class Tokens:
    """Issues and checks tokens. `clock` gives seconds and never goes backwards."""

    def __init__(
        self, client_id: str, client_secret: str, ttl: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client_id = client_id
        self._client_secret = client_secret
        self.ttl = ttl
        self._clock = clock
        self._expiry: OrderedDict[str, float] = OrderedDict()
        self.issued = 0
        self.refused = 0

    def accepts(self, client_id: str, client_secret: str) -> bool:
        """Whether these are the client's credentials."""
        right = hmac.compare_digest(client_id.encode(), self.client_id.encode())
        right &= hmac.compare_digest(client_secret.encode(), self._client_secret.encode())
        self.refused += not right
        return right

    def issue(self, account_id: str | None) -> str:
        """A token of three JWT-like parts and an opaque fourth. It has no `exp`; only `expires_in` states its life."""
        claims: dict[str, object] = {
            "access_token": secrets.token_urlsafe(18),
            "client_id": self.client_id,
            "eid": account_id or "1",
            "stack_key": "S7",
            "platform_version": 2,
            "client_type": "ServerToServer",
        }
        if account_id is not None:
            claims["pid"] = account_id
        header = {"alg": "HS256", "kid": "4", "ver": "1", "typ": "JWT"}
        parts = [_part(orjson.dumps(header)), _part(orjson.dumps(claims)), _part(secrets.token_bytes(32))]
        token = ".".join([*parts, secrets.token_urlsafe(137)])
        self.remember(token)
        return token

    def issue_legacy(self) -> str:
        """A token of the legacy endpoint: short and opaque."""
        token = secrets.token_urlsafe(18)
        self.remember(token)
        return token

    def remember(self, token: str) -> None:
        self._expiry[token] = self._clock() + self.ttl
        self.issued += 1
        if len(self._expiry) > KEPT_TOKENS:
            self._expiry.popitem(last=False)

    def state(self, token: str) -> TokenState:
        expiry = self._expiry.get(token)
        if expiry is None:
            return TokenState.UNKNOWN
        return TokenState.VALID if self._clock() < expiry else TokenState.EXPIRED

    def expire_all(self) -> None:
        """Expires all tokens issued so far."""
        for token in self._expiry:
            self._expiry[token] = float("-inf")


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
