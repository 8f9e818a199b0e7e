"""Forms that only our own pages can send.

Every form carries a CSRF token that must equal a cookie of its own (double submit); ``SameSite=Strict`` guards both.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from urllib.parse import parse_qs

from aiohttp import web

from app.web.problems import Problem
from app.web.state import SETTINGS

CSRF_COOKIE = "profile_sync_csrf"
CSRF_FIELD = "csrf"

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20


async def checked_form(request: web.Request) -> dict[str, str]:
    """The fields of a form that came from a page of ours.

    Raises:
        Problem: 415 for anything but a form, 400 if it is not readable, 403 without the right CSRF token.
    """
    if request.content_type != _FORM:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a form is expected ({_FORM})")
    try:
        parsed = parse_qs((await request.read()).decode(), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "the form cannot be read") from None
    fields = {name: values[0] for name, values in parsed.items()}
    cookie, field = request.cookies.get(CSRF_COOKIE, ""), fields.get(CSRF_FIELD, "")
    if not cookie or not secrets.compare_digest(cookie.encode(), field.encode()):
        raise Problem(HTTPStatus.FORBIDDEN, "the form is out of date or from elsewhere; load the page again")
    return fields


def with_csrf(request: web.Request, response: web.Response, token: str) -> web.Response:
    """Give the browser the cookie that goes with the forms of a page."""
    set_cookie(request, response, CSRF_COOKIE, token, None)
    return response


def csrf_token(request: web.Request) -> str:
    """The token for the forms of a page: that of the browser's cookie, or a new one."""
    cookie = request.cookies.get(CSRF_COOKIE, "")
    return cookie if len(cookie) == 43 and cookie.isascii() else secrets.token_urlsafe(32)


def set_cookie(request: web.Request, response: web.Response, name: str, value: str, max_age: int | None) -> None:
    """A cookie that no script reads and no other site sends; ``max_age`` in seconds, None = until the browser ends."""
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=request.app[SETTINGS].tls_cert is not None,
    )
