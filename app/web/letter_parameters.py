"""Filters of dead letters in the parameters of a request's address."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from app.delivery.letter_selection import as_filter
from app.delivery.operator_task import LetterFilter
from app.readmodels.letter_page import ShownStatus
from app.readmodels.letters import ANY_STATUS, OPEN_ONES
from app.web.parameters import read_time
from app.web.problems import HttpProblem

TEXTS = ("fingerprint", "reason", "market", "operation", "entity", "consumer")
FILTERS = (*TEXTS, "since", "until")
ALL = "all"


def letter_filter(request: web.Request) -> LetterFilter:
    """The dead letters that the parameters mean. A parameter without a value is refused: it would mean all.

    Raises:
        HttpProblem: 400, a parameter is empty or not a time.
    """
    query = request.query
    for name in TEXTS:
        if query.get(name) == "":
            raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{name} is empty; leave it out")
    return as_filter(
        LetterFilter(
            **{name: query.get(name, "") for name in TEXTS},
            since_ms=read_time(query.get("since"), "since"),
            until_ms=read_time(query.get("until"), "until"),
        )
    )


def letter_statuses(request: web.Request) -> frozenset[ShownStatus]:
    """The chosen statuses, separated by commas. Without the parameter: open and redriving.

    Raises:
        HttpProblem: 400, there is no such status.
    """
    text = request.query.get("status")
    if text is None:
        return OPEN_ONES
    chosen = set(text.split(","))
    if unknown := chosen - {ALL, *ANY_STATUS}:
        known = ", ".join([*ShownStatus, ALL])
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{len(unknown)} unknown status; known are {known}, with commas")
    return ANY_STATUS if ALL in chosen else frozenset(ShownStatus(one) for one in chosen)
