"""Types of settings' values, and their checks."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

# Linux: PATH_MAX.
LONGEST_PATH = 4096
# Every number has bounds, so that a value that cannot work is reported at the start and not by the first event. The
# upper bounds are far above what makes sense and far below what a date, a timer or Kafka's protocol can hold.
DAY_SECONDS, WEEK_SECONDS = 86_400.0, 604_800.0
LARGEST_MESSAGE_BYTES = 512 * 1024 * 1024


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def safe_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may quote the address, which may contain a password
        raise ValueError("must be an http(s) address such as https://host/path, its port from 1 to 65535") from None
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password; there are variables of their own for those")
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url) or port == 0:
        raise ValueError("must be an http(s) address such as https://host/path")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("plain http:// is only allowed on loopback; use https://")
    return url.rstrip("/")


def empty_is_none(value: Any) -> Any:
    return None if value == "" else value


Url = Annotated[str, AfterValidator(safe_url)]
OptionalUrl = Annotated[Url | None, BeforeValidator(empty_is_none)]
OptionalText = Annotated[str | None, BeforeValidator(empty_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(empty_is_none)]
OptionalFile = Annotated[Path | None, BeforeValidator(empty_is_none)]


def refuse(problems: list[str]) -> None:
    """Raise all problems as one error, one line each: pydantic accepts one error per model."""
    if problems:
        raise ValueError("\n".join(problems))


def existing(path: Path | None, name: str) -> list[str]:
    if path is None:
        return []
    text = str(path)
    if "\n" in text or "-----BEGIN" in text or len(text) > LONGEST_PATH:
        return [f"{name}: must be the path of a file, not its content"]  # not quoted, because it may be a key
    try:
        return [] if path.is_file() else [f"{name}: no such file: {path}"]
    except (OSError, ValueError):
        return [f"{name}: not the path of a file"]
