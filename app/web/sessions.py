"""Logging in to the pages and out. The browser keeps the API's token in a cookie that scripts cannot read."""

from __future__ import annotations

import time
from http import HTTPStatus

from aiohttp import web

from app.web.auth import InvalidToken, Scope, TokenClaims
from app.web.cookies import CSRF, TOKEN, drop_cookie, set_cookie
from app.web.forms import checked_form, csrf_token, with_csrf
from app.web.guard import checked
from app.web.rendering import render
from app.web.state import SETTINGS


async def login_form(request: web.Request) -> web.Response:
    """``GET /login``."""
    if request.app[SETTINGS].auth == "off":
        return _to("/")
    return _form(request)


async def login(request: web.Request) -> web.Response:
    """``POST /login``: put the token into the cookie if it allows the page."""
    if request.app[SETTINGS].auth == "off":
        return _to("/")
    fields = await checked_form(request)
    token = fields.get("token", "").strip()
    try:
        claims = await checked(request, token)
    except InvalidToken as error:
        return _form(request, HTTPStatus.UNAUTHORIZED, f"Not accepted: {error}.")
    if Scope.KPI_READ not in claims.scopes:
        return _form(request, HTTPStatus.FORBIDDEN, f"This token lacks the scope {Scope.KPI_READ}.")
    response = _to("/")
    set_cookie(request, response, TOKEN, token, _lifetime(claims))
    drop_cookie(request, response, CSRF)  # from now on forms are checked against the session
    return response


async def logout(request: web.Request) -> web.Response:
    """``POST /logout``."""
    await checked_form(request)
    response = _to("/login")
    drop_cookie(request, response, TOKEN)
    return response


def _form(request: web.Request, status: int = HTTPStatus.OK, error: str | None = None) -> web.Response:
    token = csrf_token(request)
    return with_csrf(request, render(request, "login.html", status, error=error, csrf=token), token)


def _lifetime(claims: TokenClaims) -> int | None:
    return None if claims.expires is None else max(0, claims.expires - int(time.time()))


def _to(path: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path})
