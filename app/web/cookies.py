"""Cookies that scripts cannot read and that other sites cannot have sent.

Over TLS their names begin with ``__Host-``. A browser accepts such a cookie only from this host, with ``Secure`` and
for all paths, so a neighbouring host of the same domain cannot set it (RFC 6265bis, 4.1.3.2).
"""

from __future__ import annotations

from aiohttp import web

from app.web.state import SETTINGS

TOKEN = "profile_sync_token"  # noqa: S105 - a name
CSRF = "profile_sync_csrf"

# Browsers keep no cookie longer than 400 days.
_LONGEST_SECONDS = 400 * 24 * 3600


def over_tls(request: web.Request) -> bool:
    """Whether visitors use TLS, either to this worker or to the proxy that ``WEB_PUBLIC_URL`` names."""
    settings = request.app[SETTINGS]
    return settings.tls_cert is not None or (settings.public_url or "").startswith("https://")


def get_cookie(request: web.Request, name: str) -> str:
    """A cookie's value; empty if it is missing or cannot be one of ours."""
    value = request.cookies.get(_full(request, name), "")
    return value if value.isascii() and value.isprintable() else ""


def set_cookie(request: web.Request, response: web.Response, name: str, value: str, max_age: int | None) -> None:
    """Set a cookie. ``max_age``: in seconds; None keeps it until the browser ends."""
    response.set_cookie(
        _full(request, name),
        value,
        max_age=None if max_age is None else min(max_age, _LONGEST_SECONDS),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=over_tls(request),
    )


def drop_cookie(request: web.Request, response: web.Response, name: str) -> None:
    """Delete a cookie."""
    response.del_cookie(_full(request, name), path="/", httponly=True, samesite="Strict", secure=over_tls(request))


def _full(request: web.Request, name: str) -> str:
    return f"__Host-{name}" if over_tls(request) else name
