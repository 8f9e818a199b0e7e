"""`profile-sync worker`: one worker, configured by the environment only."""

from __future__ import annotations

from app.cli.failing import CommandError, reported_failures
from app.flows.configuration import worker_settings


def worker() -> None:
    """Run one worker until SIGTERM or SIGINT; a second signal quits at once."""
    with reported_failures():
        settings = worker_settings()
        from app.flows.worker import WorkerFailed, run_worker
        from app.readmodels import SlotError
        from app.web.server import WebServerError

        try:
            run_worker(settings)
        except (WorkerFailed, SlotError, WebServerError) as error:
            raise CommandError(str(error)) from error
