"""``profile-sync token``: a web token signed with ``WEB_JWT_SECRET``."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.failing import reported_failures
from app.settings import TokenSettings, load
from app.web.auth import Scope, sign

# A working day.
DEFAULT_TTL_SECONDS = 8 * 3600


def token(
    scope: Annotated[
        list[str], typer.Option(help=f"What the token allows: {', '.join(Scope)}. Repeat it, or separate by spaces.")
    ],
    ttl: Annotated[int, typer.Option(min=1, help="Seconds for which it is valid.")] = DEFAULT_TTL_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the bare token.")] = False,
) -> None:
    """Print a token for the web API and the pages, signed with WEB_JWT_SECRET."""
    scopes = [one for given in scope for one in given.split()]
    if unknown := sorted(set(scopes) - set(Scope)):
        raise typer.BadParameter(f"unknown scope {', '.join(unknown)}; there are {', '.join(Scope)}")
    if not scopes:
        raise typer.BadParameter(f"--scope names no scope; there are {', '.join(Scope)}")
    with reported_failures():
        settings = load(TokenSettings)
    expires = int(time.time()) + ttl
    signed = sign(settings.jwt_secret.get_secret_value(), settings.jwt_audience, scopes, expires)
    if as_json:
        moment = datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z")
        typer.echo(json.dumps({"token": signed, "expiresAt": moment, "scope": " ".join(scopes)}))
    else:
        typer.echo(signed)
