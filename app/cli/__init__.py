"""The command line: one small file per command. The work itself is done in the rooms below."""

from __future__ import annotations

from typing import Annotated

import typer

from app import __version__
from app.cli.broker import broker
from app.cli.check import check
from app.cli.consumer import consumer
from app.cli.demo import demo
from app.cli.dlq import dlq
from app.cli.errors import errors
from app.cli.kpi import kpi
from app.cli.plan import plan
from app.cli.publish import publish
from app.cli.sample import sample
from app.cli.simulator import simulator
from app.cli.status import status
from app.cli.token import token
from app.cli.topics import topics
from app.cli.verify import verify
from app.cli.worker import worker
from app.observe.logging import configure_command_logging
from app.settings import warnings

# These commands read no settings, or warn about unknown variables themselves.
_WITHOUT_SETTINGS = frozenset({"worker", "demo", "broker", "simulator", "sample", "errors", "check"})

cli = typer.Typer(
    name="profile-sync",
    help="Keeps Salesforce Marketing Cloud in sync with a consumer database: Kafka events in, SOAP calls out.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"profile-sync {__version__}")
        raise typer.Exit


@cli.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Keeps Salesforce Marketing Cloud in sync with a consumer database: Kafka events in, SOAP calls out."""
    configure_command_logging()
    if context.invoked_subcommand not in _WITHOUT_SETTINGS:
        for line in warnings():
            typer.echo(line, err=True)


cli.command()(demo)
cli.command()(worker)
cli.command()(broker)
cli.command()(simulator)
cli.add_typer(topics, name="topics")
cli.command()(check)
cli.command()(publish)
cli.command()(sample)
cli.command()(plan)
cli.command()(status)
cli.command()(kpi)
cli.command()(consumer)
cli.add_typer(dlq, name="dlq")
cli.command()(verify)
cli.command()(token)
cli.command()(errors)


def main() -> None:
    """Entry point of the console script."""
    cli()
