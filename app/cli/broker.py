"""`profile-sync broker`: run a local Apache Kafka in the foreground."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.broker import sources
from app.cli.command_errors import CommandError, report_failures

# The command notices within this time that Kafka has ended by itself.
_LOOK_SECONDS = 0.5


def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for topics and records. Without it they are deleted at the end."),
    ] = None,
) -> None:
    """Run a local Apache Kafka on 127.0.0.1 until Ctrl-C, and print its address."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    waiting = Console(stderr=True).status("Starting Apache Kafka (the first time it is fetched, about 43 MB)")
    waiting.start()
    try:
        with report_failures(), sources.broker(port, data) as running:
            waiting.stop()
            typer.echo(f"KAFKA_BOOTSTRAP_SERVERS={running.bootstrap_servers}")
            while running.running:
                time.sleep(_LOOK_SECONDS)
            raise CommandError(f"The broker ended by itself. Its log ends with:\n{running.log_tail()}")
    finally:
        waiting.stop()


def _leave(_number: int, _frame: object) -> None:
    # The with block in ``broker`` then stops Kafka.
    raise SystemExit(0)
