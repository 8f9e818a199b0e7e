"""The parameters of a request's address. What would be ignored is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

from app.delivery.moments import MomentError, read_moment
from app.web.problems import HttpProblem

# A refusal names at most this many unknown parameters, and none that is longer than this.
MOST_NAMED = 5
LONGEST_NAME = 40
_LONGEST_NUMBER = 9


def refuse_unknown(request: web.Request, *known: str) -> None:
    """Refuse parameters that would be ignored: with ``market`` misspelt, the answer would cover all markets.

    Raises:
        HttpProblem: 400, a parameter is unknown or given twice.
    """
    if unknown := sorted(set(request.query) - set(known)):
        shown = ", ".join(plain_name(name) for name in unknown[:MOST_NAMED])
        accepted = f"known are {', '.join(known)}" if known else "this address takes none"
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"unknown parameter {shown}; {accepted}")
    if twice := [name for name in known if len(request.query.getall(name, ())) > 1]:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{twice[0]} is given more than once")


def plain_name(name: str) -> str:
    """A parameter's name if it is safe to repeat in the answer, else a placeholder."""
    return name if name.isascii() and name.isidentifier() and len(name) <= LONGEST_NAME else "(unusual name)"


def read_number(request: web.Request, name: str, *, default: int, most: int) -> int:
    """A whole number from 1 to ``most``.

    Raises:
        HttpProblem: 400, something else.
    """
    text = request.query.get(name)
    if text is None:
        return default
    plain = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    if not plain or not 1 <= int(text) <= most:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{name} is a whole number from 1 to {most}")
    return int(text)


def read_flag(request: web.Request, name: str) -> bool:
    """``true`` or ``false``; without the parameter, false.

    Raises:
        HttpProblem: 400, something else.
    """
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{name} is true or false")
    return text == "true"


def read_time(text: str | None, name: str) -> int | None:
    """A time in ms since 1970; None without a text.

    Raises:
        HttpProblem: 400, not a time.
    """
    if text is None:
        return None
    try:
        return read_moment(text, datetime.now(UTC))
    except MomentError as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{name} takes {error}") from None
