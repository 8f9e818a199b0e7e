"""Runs a demo: starts a broker, runs a session on it, and cleans up.

The kernel kills every started program when this process ends, however it ends. After an orderly end the workers have
also left their group, and all files are deleted.
"""

from __future__ import annotations

import asyncio
import os
import sysconfig
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import app
from app.broker import sources
from app.broker.readiness import listens
from app.broker.scratch_folder import ScratchFolder
from app.demo.environment import with_python_path, without_own_variables
from app.demo.failed import DemoFailed
from app.demo.installation import HOST
from app.demo.interrupt import Interrupt, Interrupted
from app.demo.options import DemoOptions
from app.demo.processes import ChildProcesses
from app.demo.session import Session
from app.demo.show import Show
from app.observe.logging import configure_logging
from app.settings import GeneralSettings

EXIT_FAILURE = 1
# As in shells: 128 + the number of the signal.
_EXIT_SIGNAL = 128


@dataclass(frozen=True, slots=True)
class DemoResult:
    """``report``: the totals; None if the demo was interrupted. ``exit_code``: 1 if something does not add up."""

    exit_code: int
    report: dict[str, Any] | None = None


def run_demo(options: DemoOptions, console: Console) -> DemoResult:
    """Run a demo in the main thread until it is done or a signal stops it. All its programs have ended then.

    Raises:
        DemoFailed, BrokerStartError, KafkaAccessError: the demo could not go on.
    """
    if options.web_port and listens(HOST, options.web_port):
        raise DemoFailed(
            f"Port {options.web_port} of {HOST} is taken; choose another one with --port, or leave the option out."
        )
    # The other programs log to files. This one shows only warnings and errors.
    configure_logging(GeneralSettings.model_construct(log_level="WARNING", log_format="console"))
    show = Show(console)
    session: Session | None = None
    with ExitStack() as stack:
        folder = ScratchFolder()
        stack.callback(folder.remove)
        children = ChildProcesses(folder.path)
        interrupt = stack.enter_context(Interrupt(children.kill))
        try:
            with show.step("Starting Apache Kafka (the first time it is fetched, about 43 MB)"), interrupt.raises():
                broker = stack.enter_context(sources.broker())
            stack.callback(_stop, show, children)
            session = Session(options, show, broker, children, _environment(), folder.path)
            report = asyncio.run(_interruptible(session, interrupt))
        except (Interrupted, asyncio.CancelledError):
            if interrupt.received is None:
                raise
            report = None
        if report is None and options.exit_when_settled:
            show.say("Interrupted before all events were settled.")
            return DemoResult(_EXIT_SIGNAL + (interrupt.received or 0))
        # Without --exit, a signal is the normal end.
        return DemoResult(EXIT_FAILURE if session is not None and session.problems else 0, report)


async def _interruptible(session: Session, interrupt: Interrupt) -> dict[str, Any] | None:
    task = asyncio.current_task()
    assert task is not None
    with interrupt.cancels(task):
        return await session.run()


def _stop(show: Show, children: ChildProcesses) -> None:
    with show.step("Stopping workers, simulator and broker"):
        children.end()


def _environment() -> dict[str, str]:
    package_parent = Path(app.__file__).resolve().parents[1]
    return with_python_path(
        without_own_variables(os.environ), package_parent, Path(sysconfig.get_path("purelib")).resolve()
    )
