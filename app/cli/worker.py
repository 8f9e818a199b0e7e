"""`profile-sync worker`: run one worker, configured by environment variables only."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.command_errors import EXIT_FAILURE, EXIT_USAGE, report_failures
from app.flows.configuration import worker_settings
from app.flows.recipes import RECIPES
from app.settings import ConfigurationError, WorkerSettings, warnings
from app.settings.pipelines import CONSUMERS


def worker(
    flow: Annotated[str, typer.Option(help=f"The pipeline to run: {', '.join(RECIPES)}.")] = CONSUMERS,
) -> None:
    """Run one worker until SIGTERM or SIGINT. A second signal ends it at once."""
    if flow not in RECIPES:
        raise typer.BadParameter(
            f"there is no pipeline {flow!r}; choose one of: {', '.join(RECIPES)}", param_hint="--flow"
        )
    with report_failures():
        settings = _settings(flow)
    from app.flows.worker import run_worker
    from app.flows.worker_end import WorkerFailed, say_cannot_go_on, say_stopped
    from app.readmodels import SlotError
    from app.web.server import WebServerError

    try:
        with report_failures():
            run_worker(settings, flow)
    except (WorkerFailed, SlotError, WebServerError) as error:
        failed = error if isinstance(error, WorkerFailed) else None
        if failed is None or not failed.told:
            say_cannot_go_on(str(error))
        raise typer.Exit(EXIT_USAGE if failed is not None and failed.configuration else EXIT_FAILURE) from None
    finally:
        say_stopped()


def _settings(flow: str) -> WorkerSettings:
    try:
        return worker_settings(flow)
    except ConfigurationError as error:
        # A misspelt variable is often the reason why another one is missing.
        raise ConfigurationError([*error.problems, *warnings()]) from None
