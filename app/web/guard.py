"""Access control: the tokens of API and page requests, and the host names that this server answers to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web

from app.settings import WebSettings, is_loopback
from app.web.auth import (
    EVERYTHING,
    InvalidToken,
    Scope,
    TokenClaims,
    bearer_token,
    forbidden,
    unauthorized,
)
from app.web.cookies import TOKEN, get_cookie
from app.web.key_set import KeysUnavailable
from app.web.problems import HttpProblem
from app.web.state import SETTINGS, VERIFIER

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What the token of an API request says.
CLAIMS = web.RequestKey("claims", TokenClaims)


def requires(scope: Scope) -> Callable[[Handler], Handler]:
    """Decorate an API handler so that it needs a bearer token with ``scope``. Cookies are not accepted."""

    def guard(handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            claims = await bearer_claims(request)
            if claims is None:
                raise unauthorized(None)
            if scope not in claims.scopes:
                raise forbidden(scope)
            request[CLAIMS] = claims
            return await handler(request)

        return guarded

    return guard


def person(request: web.Request) -> str:
    """Under which name a request is recorded: the ``sub`` of its token."""
    if request.app[SETTINGS].auth == "off":
        return "web (WEB_AUTH=off)"
    return request[CLAIMS].subject or "web (token without sub)"


async def bearer_claims(request: web.Request) -> TokenClaims | None:
    """The claims of the request's bearer token; None if there is no token.

    Raises:
        HttpProblem: 401 for an invalid token, 503 if it cannot be checked.
    """
    if request.app[SETTINGS].auth == "off":
        return EVERYTHING
    try:
        token = bearer_token(request.headers.get("Authorization"))
        return None if token is None else await checked(request, token)
    except InvalidToken as error:
        raise unauthorized(str(error)) from None


async def page_claims(request: web.Request) -> TokenClaims | None:
    """The claims of a page's visitor, from the bearer token or the cookie; None if the visitor must log in."""
    claims = await bearer_claims(request)
    if claims is None and (cookie := get_cookie(request, TOKEN)):
        try:
            claims = await checked(request, cookie)
        except InvalidToken:
            return None
    return claims


async def checked(request: web.Request, token: str) -> TokenClaims:
    """The claims of a token.

    Raises:
        InvalidToken: the token is refused.
        HttpProblem: 503, the token cannot be checked.
    """
    try:
        return await request.app[VERIFIER].verify(token)
    except KeysUnavailable as error:
        raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"}) from error


def refuse_foreign_host(request: web.Request, settings: WebSettings) -> None:
    """With WEB_AUTH=off, refuse any other host name: a site whose name resolves to this address could read the data.

    Raises:
        HttpProblem: 421, the request names another host.
    """
    host = request.headers.get("Host")
    if settings.auth != "off" or host is None:
        return
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if not is_loopback(name) and name != settings.host:
        raise HttpProblem(HTTPStatus.MISDIRECTED_REQUEST, "this server answers for loopback names only (WEB_AUTH=off)")
