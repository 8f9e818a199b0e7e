"""Bodies of requests: limited in size and time. A member that would be ignored is refused."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from aiohttp import ClientPayloadError, web

from app.profile.event_value import UnreadableValue, read_json, shown_name
from app.web.parameters import MOST_NAMED
from app.web.problems import HttpProblem

# 10,000 dead letters by event ID.
LARGEST_JSON_BYTES = 512 * 1024
BODY_SECONDS = 20.0

_JSON = "application/json"


async def read_body(request: web.Request, largest: int, seconds: float, what: str = "the body") -> bytes:
    """The body of a request.

    Raises:
        HttpProblem: 413 if it is too large, 408 if it does not arrive in time, 400 if it does not arrive completely.
    """
    too_large = HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} is too large; at most {largest:,} bytes")
    if (request.content_length or 0) > largest:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > largest:
                    raise too_large
    except TimeoutError:
        raise HttpProblem(HTTPStatus.REQUEST_TIMEOUT, f"{what} did not arrive within {seconds:g} s") from None
    except (ConnectionError, ClientPayloadError, web.RequestPayloadError):
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{what} did not arrive completely") from None
    return bytes(body)


async def json_members(request: web.Request, *known: str, may_be_empty: bool = False) -> dict[str, Any]:
    """The members of a JSON object.

    Args:
        may_be_empty: no body at all is an object without members.

    Raises:
        HttpProblem: see ``read_body``; 415 if it is not JSON by its media type, 400 if it is not an object of these
            members.
    """
    if request.can_read_body and request.content_type != _JSON:
        raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be JSON (Content-Type: {_JSON})")
    body = await read_body(request, LARGEST_JSON_BYTES, BODY_SECONDS)
    if not body and may_be_empty:
        return {}
    try:
        document = read_json(body)
    except UnreadableValue as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"the body is {error.message}") from None
    return members_of(document, "the body", *known)


def members_of(value: Any, what: str, *known: str) -> dict[str, Any]:
    """The members of an object.

    Raises:
        HttpProblem: 400, it is no object or has another member.
    """
    if not isinstance(value, dict):
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{what} must be a JSON object")
    if unknown := sorted(set(value) - set(known)):
        shown = ", ".join(shown_name(name) for name in unknown[:MOST_NAMED])
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{what} has an unknown member {shown}; known are {', '.join(known)}")
    return value


def text_of(value: Any, name: str) -> str:
    """A text that UTF-8 can hold.

    Raises:
        HttpProblem: 400, something else.
    """
    if not isinstance(value, str):
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{name} must be a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{name} is not valid Unicode") from None
    return value


def flag_of(value: Any, name: str) -> bool:
    """True or false.

    Raises:
        HttpProblem: 400, something else.
    """
    if not isinstance(value, bool):
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{name} must be true or false")
    return value
