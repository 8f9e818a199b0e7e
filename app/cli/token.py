"""``profile-sync token``: print a web token signed with ``WEB_JWT_SECRET``."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.command_errors import report_failures
from app.settings import TokenSettings, load
from app.web.auth import Scope, sign

# Eight hours: a working day.
DEFAULT_TTL_SECONDS = 8 * 3600


def token(
    scope: Annotated[
        list[str],
        typer.Option(
            help=f"What the token allows: {', '.join(Scope)}. Repeat the option, or separate scopes by spaces."
        ),
    ],
    ttl: Annotated[int, typer.Option(min=1, help="Lifetime of the token, in seconds.")] = DEFAULT_TTL_SECONDS,
    subject: Annotated[
        str, typer.Option(metavar="NAME", help="Who will use it. What is done with it is recorded under this name.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the bare token.")] = False,
) -> None:
    """Print a token for the web API and the pages, signed with WEB_JWT_SECRET."""
    scopes = [one for given in scope for one in given.split()]
    if unknown := sorted(set(scopes) - set(Scope)):
        raise typer.BadParameter(f"unknown scope {', '.join(unknown)}; choose among {', '.join(Scope)}")
    if not scopes:
        raise typer.BadParameter(f"--scope names no scope; choose among {', '.join(Scope)}")
    if not subject.isprintable():
        raise typer.BadParameter("--subject holds a character that cannot be printed")
    with report_failures():
        settings = load(TokenSettings)
    expires = int(time.time()) + ttl
    signed = sign(settings.jwt_secret.get_secret_value(), settings.jwt_audience, scopes, expires, subject.strip())
    if as_json:
        expires_at = datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z")
        typer.echo(json.dumps({"token": signed, "expiresAt": expires_at, "scope": " ".join(scopes)}))
    else:
        typer.echo(signed)
