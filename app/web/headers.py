"""The security headers of every answer."""

from __future__ import annotations

from collections.abc import MutableMapping

# Pages load only the packaged script and style sheet, and connect only to this server.
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def add_security_headers(headers: MutableMapping[str, str], *, page: bool) -> None:
    """Add the security headers. ``page``: the answer is a page, not data."""
    headers["Server"] = "profile-sync"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    # With "no-referrer" a browser would send "Origin: null" for our own forms.
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Content-Security-Policy"] = _PAGE_POLICY if page else _DATA_POLICY
    headers.setdefault("Cache-Control", "no-store")
