"""Forms that only our own pages can send.

There are three guards, and each is sufficient in a current browser: ``SameSite=Strict`` cookies, the request headers
that name the origin, and a CSRF token in every form. For a visitor who is logged in, the CSRF token is derived from the
session, so an attacker cannot set it. Before the login there is no session, so the token must equal the value of a
separate cookie (double submit).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from app.web.bodies import read_body
from app.web.cookies import CSRF, TOKEN, get_cookie, set_cookie
from app.web.problems import HttpProblem
from app.web.state import SETTINGS

CSRF_FIELD = "csrf"

# The largest form holds an access token (see ``LONGEST_TOKEN``) with every character escaped.
LARGEST_FORM_BYTES = 16 * 1024
# A form is small, one or two packets, so a slower client is not a browser.
FORM_SECONDS = 10.0

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20
_PURPOSE = b"profile-sync form"


async def checked_form(request: web.Request) -> dict[str, str]:
    """The fields of a form that one of our pages has sent.

    Raises:
        HttpProblem: 415 if the body is not a form, 413 if it is too large, 408 if it does not arrive in time, 400 if it
            cannot be read, 403 if another site sent it or its CSRF token is wrong.
    """
    if request.content_type != _FORM:
        raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a form is expected ({_FORM})")
    refuse_other_sites(request)
    try:
        body = await read_body(request, LARGEST_FORM_BYTES, FORM_SECONDS, "the form")
        parsed = parse_qs(body.decode(), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, "the form cannot be read") from None
    fields = {name: values[0] for name, values in parsed.items()}
    expected, field = _expected(request), fields.get(CSRF_FIELD, "")
    if not expected or not secrets.compare_digest(expected.encode(), field.encode()):
        raise HttpProblem(HTTPStatus.FORBIDDEN, "the form is out of date or from elsewhere; load the page again")
    return fields


def refuse_other_sites(request: web.Request) -> None:
    """Refuse a request from another site's page. Browsers name the origin (Fetch Metadata, RFC 6454); programs do not.

    Raises:
        HttpProblem: 403, another site sent the request.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    if site not in ("same-origin", "none") or (origin is not None and not _is_ours(request, origin)):
        raise HttpProblem(HTTPStatus.FORBIDDEN, "this was sent by a page of another site")


def with_csrf(request: web.Request, response: web.Response, token: str) -> web.Response:
    """Add the cookie that the forms of a page are checked against, if the visitor has no session."""
    if not get_cookie(request, TOKEN):
        set_cookie(request, response, CSRF, token, None)
    return response


def csrf_token(request: web.Request) -> str:
    """The CSRF token for the forms of a page."""
    expected = _expected(request)
    return expected if len(expected) == 43 else secrets.token_urlsafe(32)


def _expected(request: web.Request) -> str:
    if session := get_cookie(request, TOKEN):
        # Only a sender who knows the session can compute this, and that sender needs no forged form.
        digest = hmac.digest(session.encode(), _PURPOSE, hashlib.sha256)
        return urlsafe_b64encode(digest).rstrip(b"=").decode()
    return get_cookie(request, CSRF)


def _is_ours(request: web.Request, origin: str) -> bool:
    public_url = request.app[SETTINGS].public_url
    try:
        parts = urlsplit(origin)
        public = urlsplit(public_url) if public_url else None
    except ValueError:
        return False
    if public is not None and (parts.scheme, parts.netloc) == (public.scheme, public.netloc):
        return True
    return bool(parts.netloc) and parts.netloc.lower() == request.headers.get("Host", "").lower()
