"""Reads the token endpoint's answer (vendor page "Server-to-Server Integrations with Client Credentials Grant Type").

Pure, except that the expiry of a plain JWT is compared with the clock. No part of a token or of the credentials gets
into a message.
"""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import jwt

from app.cmt.errors import CallError, CallFailed
from app.cmt.texts import account_blocked
from app.delivery import errors as registry
from app.delivery.errors import ErrorEntry
from app.http.address import is_secure
from app.http.answer import Answer

# Replace a token when this share of its life is left, but no earlier than five minutes before its end. The vendor's own
# clients always use five minutes; if the life is shorter than that, they ask before every call.
EARLY_SHARE = 0.2
EARLY_SECONDS_MOST = 300.0
# The life if neither expires_in nor the token says it: half of the documented 20 minutes.
LIFE_WHEN_UNKNOWN = 600.0

# Real answers have one or two KiB. A long one would only cost memory: parsed JSON takes up to twenty times its size.
LONGEST_ANSWER = 64 * 1024

_ERROR_NAME = re.compile(r"[a-z_]{1,40}")


@dataclass(slots=True, eq=False)
class Token:
    """A token and the address that it is good for. ``accepted``: a call has succeeded with it."""

    value: str = field(repr=False)
    soap_url: str
    refresh_at: float
    expires_at: float
    accepted: bool = False


def token_url(auth_url: str) -> str:
    """The token endpoint of an authentication address, which may already be the endpoint.

    >>> token_url("https://x.auth.example/"), token_url("https://x.auth.example/v2/token/")
    ('https://x.auth.example/v2/token', 'https://x.auth.example/v2/token')
    """
    return auth_url.rstrip("/").removesuffix("/v2/token").rstrip("/") + "/v2/token"


def service_url(soap_url: str) -> str:
    """The SOAP endpoint of an instance address, which may already be the endpoint.

    Other forms that people copy work too: the address of the WSDL, one with a query, one without a path.

    >>> service_url("https://x.soap.example/"), service_url("https://x.soap.example/service.asmx")
    ('https://x.soap.example/Service.asmx', 'https://x.soap.example/service.asmx')
    >>> service_url("https://x.soap.example/Service.asmx?wsdl"), service_url("https://x.soap.example/etframework.wsdl")
    ('https://x.soap.example/Service.asmx', 'https://x.soap.example/Service.asmx')
    """
    parts = urlsplit(soap_url)
    path = parts.path.rstrip("/")
    if path.lower().endswith(".wsdl"):
        path = path.rpartition("/")[0]
    if not path.lower().endswith(".asmx"):
        path = f"{path}/Service.asmx"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def read_token(answer: Answer, asked_at: float, soap_url: str | None) -> Token:
    """The token of an answer.

    Args:
        answer: of the token endpoint.
        asked_at: monotonic seconds right before the request; the life of the token is counted from there.
        soap_url: the address for calls, which overrides the answer's; None: there is none.

    Raises:
        CallFailed: with a code (most are CMT-TOKEN-*) for what the endpoint answered.
    """
    document = _json_object(answer.body)
    if answer.status != 200:
        raise _refusal(answer, document)
    value = document.get("access_token")
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise token_failed(registry.CMT_TOKEN_MALFORMED, "HTTP 200 without an access_token.")
    life = _life(document.get("expires_in"), value)
    address = soap_url or document.get("soap_instance_url")
    if not isinstance(address, str) or not is_secure(address):
        problem = "No https soap_instance_url in the answer, and CMT_SOAP_URL is not set."
        raise token_failed(registry.CMT_TOKEN_MALFORMED, problem)
    early = min(EARLY_SECONDS_MOST, life * EARLY_SHARE)
    return Token(value, service_url(address), asked_at + life - early, asked_at + life)


def _json_object(body: bytes) -> dict[str, Any]:
    if len(body) > LONGEST_ANSWER:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _life(expires_in: Any, token: str) -> float:
    """Seconds that a token is good for: the shorter of what the answer and a plain JWT say, a guess if neither does.

    Raises:
        CallFailed: ``expires_in`` is no positive number.
    """
    own = _jwt_life(token)
    if expires_in is None:
        expires_in = own or LIFE_WHEN_UNKNOWN
    try:
        life = float(expires_in)
    except (TypeError, ValueError, OverflowError):
        life = math.nan
    if not 0 < life < math.inf:
        raise token_failed(registry.CMT_TOKEN_MALFORMED, "expires_in is not a number of seconds above 0.")
    return life if own is None else min(life, own)


def _jwt_life(token: str) -> float | None:
    """None: no plain JWT, no usable ``exp``, or one that is already past, which means that a clock is wrong."""
    try:
        # The signature is not verified here: the service that issued the token does that.
        claims = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
        life = float(claims["exp"]) - time.time()
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    return life if 0 < life < math.inf else None


def _refusal(answer: Answer, document: dict[str, Any]) -> CallFailed:
    said = document.get("error")
    name = f", {said}" if isinstance(said, str) and _ERROR_NAME.fullmatch(said) else ""
    what = f"HTTP {answer.status}{name}."
    if account_blocked(answer.body):
        return token_failed(registry.CMT_BLOCKED, what, answer.retry_after)
    if answer.status == 429:
        return token_failed(registry.CMT_TOKEN_THROTTLED, what, answer.retry_after)
    if answer.status == 401 or (answer.status in (400, 403) and name):
        return token_failed(registry.CMT_TOKEN_REFUSED, what, answer.retry_after)
    if answer.status >= 500 or answer.status == 408:
        return token_failed(registry.CMT_TOKEN_UNAVAILABLE, what, answer.retry_after)
    return token_failed(registry.CMT_TOKEN_MALFORMED, what, answer.retry_after)


def token_failed(entry: ErrorEntry, what: str, retry_after: float | None = None) -> CallFailed:
    """The error of a failed token request."""
    return CallFailed(CallError(entry.code, f"{entry.meaning} {what}", retry_after=retry_after))
