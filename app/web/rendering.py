"""Renders the templates, with the values that every page needs."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.web.state import SETTINGS, STATE

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["number"] = lambda n: f"{n:,}".replace(",", "\u202f")


def render(request: web.Request, template: str, status: int = HTTPStatus.OK, **values: Any) -> web.Response:
    """A page from a template."""
    defaults = {"login_needed": request.app[SETTINGS].auth != "off", "refresh": None, "csrf": None}
    defaults["dry_run"] = request.app[STATE].dry_run
    text = _templates.get_template(template).render(**{**defaults, **values})
    return web.Response(text=text, status=status, content_type="text/html")


def error_page(request: web.Request, status: int, detail: str, headers: dict[str, str]) -> web.Response:
    """A plain page that says what went wrong."""
    response = render(request, "error.html", status, title=HTTPStatus(status).phrase, code=int(status), detail=detail)
    response.headers.update(headers)
    return response
