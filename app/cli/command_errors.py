"""How a command fails: one clear message on stderr and the right exit code, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from app.broker.distribution import BrokerStartError
from app.cli.output import printable
from app.kafka.admin import KafkaAccessError
from app.settings import ConfigurationError

EXIT_FAILURE = 1
EXIT_USAGE = 2


class CommandError(Exception):
    """A command failed. The message says what failed, on what, and what to do."""


@contextmanager
def report_failures() -> Iterator[None]:
    """Turn known errors into a message and an exit code: 2 for wrong settings (a line for each problem), else 1."""
    try:
        yield
    except ConfigurationError as error:
        for problem in error.problems:
            typer.echo(_lines(problem), err=True)
        raise typer.Exit(EXIT_USAGE) from None
    except (CommandError, KafkaAccessError, BrokerStartError) as error:
        typer.echo(_lines(str(error)), err=True)
        raise typer.Exit(EXIT_FAILURE) from None


def _lines(text: str) -> str:
    """The message without control characters: it may quote a broker or an event."""
    return "\n".join(map(printable, text.splitlines()))
