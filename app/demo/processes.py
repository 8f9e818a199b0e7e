"""The programs that the demo runs besides the broker. Each has a log of its own, and none outlives the demo."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.broker.child_process import spawn_bound

# A worker that ends finishes its calls and leaves its group. A second interrupt does not wait for that.
GRACE_SECONDS = 10.0
TAIL_LINES = 15
# The last lines are searched in this part of a log's end.
_TAIL_BYTES = 1024 * 1024
# Log lines of successful requests. Most of these requests are the demo's own, and they do not explain a failure.
_ANSWERED = re.compile(r"\[app\.web\.middleware\].* status=200\b")


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """One running program. ``name``: as shown to the user, e.g. "worker 2"."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def exit_code(self) -> int | None:
        """None while the program runs; negative: the signal that ended it."""
        return self.process.poll()

    def log_text(self) -> str:
        """The whole log; call it only while the log is short."""
        return self.log.read_text(errors="replace")

    def log_tail(self) -> str:
        """The last lines of the log, without successful requests."""
        with self.log.open("rb") as content:
            content.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            text = content.read().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip() and not _ANSWERED.search(line)]
        return "\n".join(lines[-TAIL_LINES:]) or "(nothing)"


class ChildProcesses:
    """Starts programs, with their logs in ``folder``, and ends all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[ChildProcess] = []

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> ChildProcess:
        """Start this program with the given arguments. Its output goes to ``<name>.log``.

        Raises:
            OSError: the program cannot be started.
        """
        log = self._folder / f"{name.replace(' ', '-')}.log"
        log.touch()
        command = [sys.executable, "-P", "-m", "app", *arguments]
        child = ChildProcess(name, spawn_bound(command, output=log, environment=environment), log)
        self._started.append(child)
        return child

    def end(self) -> None:
        """Ask all programs to end, wait for them, and kill those that have not ended in time."""
        for child in self._started:
            child.process.terminate()
            child.process.send_signal(signal.SIGCONT)  # a frozen process would not get the SIGTERM
        deadline = time.monotonic() + GRACE_SECONDS
        for child in self._started:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def kill(self) -> None:
        """Kill all programs. May be called from a signal handler."""
        for child in self._started:
            child.process.kill()


def ended_on_purpose(exit_code: int) -> bool:
    """Whether a worker was ended on purpose: a clean exit, or a signal that a user sends."""
    return exit_code in (0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)


def describe_exit(exit_code: int) -> str:
    """An exit code in words.

    >>> describe_exit(-9), describe_exit(1)
    ('was ended by SIGKILL', 'ended by itself with exit code 1')
    """
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended by itself with exit code {exit_code}"
