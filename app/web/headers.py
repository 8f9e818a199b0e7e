"""Headers of every answer: browsers are told to be careful."""

from __future__ import annotations

from collections.abc import MutableMapping

# Pages run the packaged script and style sheet only, and talk to nobody but us.
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"


def careful_headers(headers: MutableMapping[str, str], *, page: bool) -> None:
    """Add them. ``page``: the answer is a page, not data."""
    headers["Server"] = "profile-sync"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    # Not "no-referrer": with that a browser says "Origin: null" of our own forms.
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Content-Security-Policy"] = _PAGE_POLICY if page else _DATA_POLICY
    headers.setdefault("Cache-Control", "no-store")
