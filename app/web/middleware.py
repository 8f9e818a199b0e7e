"""Around every request: security headers, errors in the right form, and a log line for a failure."""

from __future__ import annotations

import time
from http import HTTPStatus

import structlog
from aiohttp import web

from app.delivery.letter_selection import NotFound, NotPossible, SelectionError
from app.profile.edited_value import EditRefused, NotEditable
from app.readmodels import ReadModelUnavailable
from app.web.guard import Handler, refuse_foreign_host
from app.web.headers import add_security_headers
from app.web.operations import OperationsUnavailable
from app.web.problems import HttpProblem, problem_answer
from app.web.rendering import error_page
from app.web.state import SETTINGS

log = structlog.stdlib.get_logger(__name__)

# Machines request these every few seconds, so their failures are not logged.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to every answer, errors included; for ``on_response_prepare``."""
    add_security_headers(response.headers, page=response.content_type == "text/html")
    if request.app[SETTINGS].tls_cert is not None:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"


@web.middleware
async def log_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log method, path template, status and time. The path itself is never logged, because it may name a consumer."""
    started = time.perf_counter()
    status = 499  # if the client goes away before the answer
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        template = path_template(request)
        # Pages refresh themselves every few seconds, so only failures are logged above DEBUG.
        (log.warning if status >= HTTPStatus.INTERNAL_SERVER_ERROR and template not in _QUIET else log.debug)(
            "request",
            method=request.method if request.method in _METHODS else "other",
            route=template,
            status=status,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem (API) or a plain page, neither of which shows internals."""
    try:
        refuse_foreign_host(request, request.app[SETTINGS])
        return await handler(request)
    except HttpProblem as problem:
        return _answer(request, problem.status, problem.detail, problem.headers)
    except SelectionError as refused:
        return _answer(request, _status(refused), "; ".join(str(refused).splitlines()), {})
    except EditRefused as refused:
        impossible = isinstance(refused, NotEditable)
        status = HTTPStatus.CONFLICT if impossible else HTTPStatus.UNPROCESSABLE_ENTITY
        return _answer(request, status, str(refused), {})
    except OperationsUnavailable as error:
        return _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})
    except ReadModelUnavailable:
        return _answer(
            request, HTTPStatus.SERVICE_UNAVAILABLE, "the read models are being built; try again", {"Retry-After": "1"}
        )
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _answer(request, error.status, _DETAILS.get(error.status, error.reason), allow)
    except Exception:  # the caller gets a plain 500, the log gets the traceback
        log.exception("request failed", route=path_template(request))
        return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, "an internal error; see the worker's log", {})


def _status(refused: SelectionError) -> HTTPStatus:
    match refused:
        case NotFound():
            return HTTPStatus.NOT_FOUND
        case NotPossible():
            return HTTPStatus.CONFLICT
        case _:
            return HTTPStatus.BAD_REQUEST


_DETAILS: dict[int, str] = {
    404: "there is nothing at this address",
    405: "this address does not take this method",
    413: "the request is too large",
}


def _answer(request: web.Request, status: int, detail: str, headers: dict[str, str]) -> web.Response:
    if is_page(request):
        return error_page(request, status, detail, headers)
    return problem_answer(status, detail, headers)


def is_page(request: web.Request) -> bool:
    """Whether the answer is meant for a person, not for a program."""
    path = request.path
    return path != "/api" and not path.startswith("/api/") and path not in _QUIET and path != "/openapi.json"


def path_template(request: web.Request) -> str:
    """The route of a request, e.g. ``/api/consumers/{id}``."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
