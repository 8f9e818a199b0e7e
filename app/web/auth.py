"""Who may do what: bearer tokens (RFC 6750) that are JWTs (RFC 7519), with scopes (RFC 9068, ``scope``).

The algorithms come from the configuration, never from the token: HS256 with ``WEB_JWT_SECRET``; RS256, ES256 with the
keys of ``WEB_JWKS_URL``. A token signed with HS256 and a public key as the secret, or with ``alg=none``, is refused.
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

# Clocks of two machines differ by this much at most.
LEEWAY_SECONDS = 10
# Longer ones do not fit into a cookie, nor into aiohttp's limit for a header.
LONGEST_TOKEN = 3800

_BEARER = re.compile(r"(?i)bearer +([A-Za-z0-9._~+/=-]+) *")


class Scope(StrEnum):
    """What a token may allow."""

    KPI_READ = "kpi:read"
    DLQ_READ = "dlq:read"
    DLQ_WRITE = "dlq:write"


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a valid token says. ``expires`` is a Unix time; None when nobody checks tokens."""

    scopes: frozenset[str]
    subject: str | None = None
    expires: int | None = None


# WEB_AUTH=off: loopback only, which the settings make sure of.
EVERYTHING = TokenClaims(frozenset(Scope))


class InvalidToken(Exception):
    """A token that is not accepted; the text says why and holds nothing of it."""


def bearer_token(header: str | None) -> str | None:
    """The token of an ``Authorization`` header; None when there is none, or none of this scheme.

    Raises:
        InvalidToken: the scheme is Bearer, but what follows is no token.
    """
    if header is None or header[:6].lower() != "bearer":
        return None
    match = _BEARER.fullmatch(header)
    if match is None:
        raise InvalidToken("the Authorization header is not of the form: Bearer TOKEN")
    return match.group(1)


@dataclass(slots=True)
class TokenVerifier:
    """Checks tokens against the configuration."""

    settings: WebSettings
    _keys: KeySet | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if self.settings.jwks_url is not None:
            self._keys = KeySet(self.settings.jwks_url)

    async def verify(self, token: str) -> TokenClaims:
        """The claims of a token that is signed by whom we trust, for us, and not expired.

        Raises:
            InvalidToken: it is not.
            KeysUnavailable: ``WEB_JWKS_URL`` did not answer with keys.
        """
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken(f"the token is longer than {LONGEST_TOKEN} characters")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError):  # ValueError: e.g. text that UTF-8 cannot hold
            raise InvalidToken("not a JWT") from None
        key, algorithms = await self._key(header)
        return _claims(_decoded(token, key, algorithms, self.settings.jwt_audience))

    async def _key(self, header: dict[str, Any]) -> tuple[PyJWK | str, list[str]]:
        # The header only chooses among what is configured; each key goes with its own algorithms.
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
        subject if isinstance(subject, str) else None,
        int(payload["exp"]),
    )


def sign(secret: str, audience: str, scopes: Iterable[str], expires: int) -> str:
    """A token of ours; ``expires`` is a Unix time."""
    payload = {"aud": audience, "scope": " ".join(scopes), "iat": int(time.time()), "exp": expires}
    return jwt.encode(payload, secret, algorithm="HS256")


def unauthorized(reason: str | None) -> HttpProblem:
    """401. Without a token no error code is given (RFC 6750, 3.1)."""
    if reason is None:
        challenge, detail = 'Bearer realm="profile-sync"', "a bearer token is needed; `profile-sync token` makes one"
    else:
        challenge = f'Bearer realm="profile-sync", error="invalid_token", error_description="{reason}"'
        detail = reason
    return HttpProblem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})


def forbidden(scope: Scope) -> HttpProblem:
    """403: the token is good, but does not allow this."""
    challenge = f'Bearer realm="profile-sync", error="insufficient_scope", scope="{scope}"'
    return HttpProblem(HTTPStatus.FORBIDDEN, f"the token lacks the scope {scope}", {"WWW-Authenticate": challenge})
