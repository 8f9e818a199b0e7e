"""What the body of a redrive or a discard asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from aiohttp import web

from app.delivery.letter_selection import EVERY, NotOneWay, TaskRequest, as_filter
from app.delivery.operator_task import MOST_PER_SECOND, Action, LetterFilter
from app.web.bodies import flag_of, json_members, members_of, text_of
from app.web.letter_parameters import FILTERS, TEXTS
from app.web.parameters import read_time
from app.web.problems import HttpProblem

MEMBERS = ("ids", "filter", "all", "dryRun", "note")
REDRIVE_MEMBERS = (*MEMBERS, "force", "ratePerSecond")


@dataclass(frozen=True, slots=True)
class AskedTask:
    """A request that was checked."""

    request: TaskRequest
    dry_run: bool


async def asked_task(request: web.Request, action: Action) -> AskedTask:
    """What the body asks for.

    Raises:
        HttpProblem: the body cannot be used.
        SelectionError: what it asks for is not allowed.
    """
    known = REDRIVE_MEMBERS if action is Action.REDRIVE else MEMBERS
    body = await json_members(request, *known)
    dry_run = flag_of(body.get("dryRun", False), "dryRun")
    if "all" in body and body["all"] is not True:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, "all must be true, or be left out")
    asked = TaskRequest(
        action,
        _ids(body["ids"]) if "ids" in body else (),
        _filter(body["filter"]) if "filter" in body else EVERY,
        "all" in body,
        text_of(body.get("note", ""), "note"),
        _rate(body["ratePerSecond"]) if "ratePerSecond" in body else None,
        flag_of(body.get("force", False), "force"),
    )
    try:
        asked.check(dry_run=dry_run)
    except NotOneWay as error:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f'{error}: give one of "ids", "filter" and "all": true') from None
    return AskedTask(asked, dry_run)


def _ids(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, "ids must be a list of at least one ID")
    return tuple(text_of(one, "each of ids") for one in value)


def _filter(value: Any) -> LetterFilter:
    given = {name: text_of(one, name) for name, one in members_of(value, "filter", *FILTERS).items()}
    if not given:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, 'filter is empty; for all open dead letters give "all": true')
    if empty := [name for name, text in given.items() if not text]:
        raise HttpProblem(HTTPStatus.BAD_REQUEST, f"{empty[0]} is empty; leave it out")
    return as_filter(
        LetterFilter(
            **{name: given.get(name, "") for name in TEXTS},
            since_ms=read_time(given.get("since"), "since"),
            until_ms=read_time(given.get("until"), "until"),
        )
    )


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise HttpProblem(HTTPStatus.BAD_REQUEST, "ratePerSecond must be a number")
    # A larger number may not fit into a float; the check refuses it.
    return float(value) if -MOST_PER_SECOND <= value <= MOST_PER_SECOND else math.inf
