"""Where a request goes, and whether it may go there."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

from app.settings import is_loopback


class Origin(NamedTuple):
    """What a connection leads to; a name is in its ASCII form, an IPv6 address without brackets."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, taken apart.

    ``head``: request line and headers that say where the request goes; holds the user and password of the URL.
    """

    origin: Origin
    head: bytes
    secure: bool


@lru_cache(maxsize=64)  # a handful of addresses, asked for with every call
def address_of(text: str) -> Address:
    """Take an http or https URL apart.

    Raises:
        ValueError: it is none.
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
    """The user and password of a URL for a header (RFC 7617)."""
    return "Basic " + b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode()


def is_secure(text: str) -> bool:
    """Whether an address may be given a token: https, or http on this machine."""
    try:
        url = URL(text)
    except ValueError:
        return False
    return bool(url.host) and (url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host or "")))
