"""Bearer tokens (RFC 6750): JWTs (RFC 7519) whose ``scope`` (RFC 9068) says what the caller may do.

The settings decide which algorithms are accepted, never the token: HS256 with ``WEB_JWT_SECRET``, RS256 and ES256 with
the keys of ``WEB_JWKS_URL``. A token with ``alg=none``, or one signed by HS256 with a public key as the secret, is
refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import jwt
from jwt import PyJWK

from app.settings import WebSettings
from app.web.key_set import ALGORITHMS, KeySet
from app.web.problems import HttpProblem

# The clocks of two machines are assumed to differ by at most this much.
LEEWAY_SECONDS = 10
# A longer token fits neither into a cookie nor into aiohttp's limit for a header.
LONGEST_TOKEN = 3800

_BEARER = re.compile(r"(?i)bearer +([A-Za-z0-9._~+/=-]+) *")


class Scope(StrEnum):
    """A permission that a token can grant."""

    KPI_READ = "kpi:read"
    DLQ_READ = "dlq:read"
    DLQ_WRITE = "dlq:write"
    DLQ_VALUES = "dlq:values"
    AUDIT_READ = "audit:read"


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a valid token says. ``expires`` is a Unix time; None without authentication."""

    scopes: frozenset[str]
    subject: str | None = None
    expires: int | None = None


# For WEB_AUTH=off, which the settings allow on loopback addresses only.
EVERYTHING = TokenClaims(frozenset(Scope))


class InvalidToken(Exception):
    """A token is refused. The text says why and holds no part of the token."""


def bearer_token(header: str | None) -> str | None:
    """The token of an ``Authorization`` header; None without a header, or with another scheme.

    Raises:
        InvalidToken: the scheme is Bearer, but the rest is not a token.
    """
    if header is None or header[:6].lower() != "bearer":
        return None
    match = _BEARER.fullmatch(header)
    if match is None:
        raise InvalidToken("the Authorization header is not of the form: Bearer TOKEN")
    return match.group(1)


@dataclass(slots=True)
class TokenVerifier:
    """Checks tokens as the settings demand."""

    settings: WebSettings
    _keys: KeySet | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if self.settings.jwks_url is not None:
            self._keys = KeySet(self.settings.jwks_url)

    async def verify(self, token: str) -> TokenClaims:
        """The claims of a token, after its signature, audience and expiry were checked.

        Raises:
            InvalidToken: one of these checks failed.
            KeysUnavailable: ``WEB_JWKS_URL`` did not return keys.
        """
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken(f"the token is longer than {LONGEST_TOKEN} characters")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):  # ValueError: for example a lone surrogate
            raise InvalidToken("not a JWT") from None
        key, algorithms = await self._key(header)
        return _claims(_decoded(token, key, algorithms, self.settings.jwt_audience))

    async def _key(self, header: dict[str, Any]) -> tuple[PyJWK | str, list[str]]:
        # The header only chooses among the configured keys, and each key is used with its own algorithms.
        algorithm = header.get("alg")
        if algorithm == "HS256" and self.settings.jwt_secret is not None:
            return self.settings.jwt_secret.get_secret_value(), ["HS256"]
        if algorithm in ALGORITHMS and self._keys is not None:
            key_id = header.get("kid")
            key = await self._keys.find(key_id) if isinstance(key_id, str) else None
            if key is None:
                raise InvalidToken("signed with a key that WEB_JWKS_URL does not know")
            return key, list(ALGORITHMS)
        raise InvalidToken("signed with an algorithm that is not accepted here")


def _decoded(token: str, key: PyJWK | str, algorithms: list[str], audience: str) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            key,
            algorithms=algorithms,
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise InvalidToken("the token has expired") from None
    except jwt.InvalidAudienceError:
        raise InvalidToken("the token is for another audience") from None
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"the token has no {error.claim} claim") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidToken("the token is not valid") from None


def _claims(payload: dict[str, Any]) -> TokenClaims:
    scope, subject = payload.get("scope"), payload.get("sub")
    granted = scope.split() if isinstance(scope, str) else scope if isinstance(scope, list) else []
    return TokenClaims(
        frozenset(one for one in granted if isinstance(one, str)),
        subject if isinstance(subject, str) and _is_plain(subject) else None,
        int(payload["exp"]),
    )


def _is_plain(subject: str) -> bool:
    """Whether a name can be shown and stored: no lone surrogates, no control characters."""
    return bool(subject.strip()) and subject.isprintable()


def sign(secret: str, audience: str, scopes: Iterable[str], expires: int, subject: str = "") -> str:
    """A token signed with ``secret``. ``expires`` is a Unix time; ``subject``: who will use it."""
    payload = {"aud": audience, "scope": " ".join(scopes), "iat": int(time.time()), "exp": expires}
    return jwt.encode(payload | ({"sub": subject} if subject else {}), secret, algorithm="HS256")


def unauthorized(reason: str | None) -> HttpProblem:
    """A 401 answer. ``reason``: why the token was refused; None without a token: no error code then (RFC 6750, 3.1)."""
    if reason is None:
        challenge, detail = 'Bearer realm="profile-sync"', "a bearer token is needed; `profile-sync token` makes one"
    else:
        challenge = f'Bearer realm="profile-sync", error="invalid_token", error_description="{reason}"'
        detail = reason
    return HttpProblem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})


def forbidden(scope: Scope) -> HttpProblem:
    """A 403 answer: the token is valid but lacks the scope."""
    challenge = f'Bearer realm="profile-sync", error="insufficient_scope", scope="{scope}"'
    return HttpProblem(HTTPStatus.FORBIDDEN, f"the token lacks the scope {scope}", {"WWW-Authenticate": challenge})
