"""How a command ends when something is wrong: one clear message on stderr and the right exit code, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from app.broker.distribution import BrokerStartError
from app.cli.output import plain
from app.kafka.admin import KafkaAccessError
from app.settings import ConfigurationError

EXIT_FAILURE = 1
EXIT_USAGE = 2


class CommandError(Exception):
    """A command could not do its work; the message says what failed, on what, and what to do."""


@contextmanager
def reported_failures() -> Iterator[None]:
    """Ends the command with a message: exit 2 for a wrong configuration (one line per problem), 1 for a failure."""
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
    """What others wrote (brokers, events) may stand in a message."""
    return "\n".join(map(plain, text.splitlines()))
