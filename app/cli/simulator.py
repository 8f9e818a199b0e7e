"""`profile-sync simulator`: run the stand-in for Marketing Cloud and ServiceNow in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.command_errors import CommandError, report_failures
from app.simulator.definitions import DefinitionError
from app.simulator.foreground import run_simulator
from app.simulator.server import Simulator


def simulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    latency_ms: Annotated[float, typer.Option(min=0, help="Delay of every SOAP call, in milliseconds.")] = 0,
    client_id: Annotated[str, typer.Option(help="Client ID that may request tokens.")] = "simulator",
    client_secret: Annotated[str, typer.Option(help="Client secret of this client ID.")] = "simulator-secret",  # noqa: S107
    token_ttl: Annotated[int, typer.Option(min=1, help="Lifetime of a token, in seconds.")] = 1079,
    data_extensions: Annotated[
        Path | None, typer.Option(help="File like data-extensions.json. Without it, the bundled data extensions.")
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="Time zone of the account's dates, such as UTC-6 or UTC+5:30.")
    ] = "UTC-6",
) -> None:
    """Run a stand-in for Marketing Cloud (tokens, SOAP) and ServiceNow (incidents) in memory, until Ctrl-C."""
    with report_failures():
        try:
            stand_in = Simulator(
                host=host,
                port=port,
                latency_ms=latency_ms,
                client_id=client_id,
                client_secret=client_secret,
                token_ttl=token_ttl,
                data_extensions=data_extensions,
                time_zone=time_zone,
            )
            run_simulator(stand_in, typer.echo)
        except DefinitionError as error:
            raise CommandError(f"{error}. docs/simulator.md describes the file") from error
        except OSError as error:
            raise CommandError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
