"""Where a request goes, and whether it may go there."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

from app.settings import is_loopback


class Origin(NamedTuple):
    """The endpoint of a connection. A name is in its ASCII form, an IPv6 address has no brackets."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL.

    ``head``: the request line and the headers that follow from the URL; it contains the URL's user and password.
    ``secure``: see ``is_secure``.
    """

    origin: Origin
    head: bytes
    secure: bool


@lru_cache(maxsize=64)  # there are a few addresses, and every call needs one
def address_of(text: str) -> Address:
    """Parse an http or https URL.

    Raises:
        ValueError: not an http or https URL.
    """
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.raw_host or url.port is None:
        raise ValueError("not an http or https address")
    head = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
    if url.user is not None:
        head += f"Authorization: {basic(url)}\r\n"
    origin = Origin(url.raw_host, url.port, url.scheme == "https")
    return Address(origin, head.encode("ascii"), is_secure(text))


def basic(url: URL) -> str:
    """The user and password of a URL as a header value (RFC 7617)."""
    return "Basic " + b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode()


def is_secure(text: str) -> bool:
    """Whether a token may be sent to an address: https, or http on loopback."""
    try:
        url = URL(text)
    except ValueError:
        return False
    return bool(url.host) and (url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host or "")))
